import { type Output, secret } from "@pulumi/pulumi";
import { ConfigError } from "./errors.ts";
import type { Plan } from "./plan.ts";
import { secretNames, secretProblems, type UpstreamSecrets } from "./upstreams.ts";

/** `FEDERATION_UPSTREAMS` of each node that needs one, by node id. Fails with every secret that is missing or has no use. */
export function upstreamSecrets(
  plan: Plan,
  given: Output<UpstreamSecrets | undefined>,
): ReadonlyMap<string, Output<string>> {
  const needing = plan.nodes
    .map((node) => ({ node, names: secretNames(node) }))
    .filter(({ names }) => names.length > 0);
  const checked = given.apply((secrets = {}) => {
    const problems = secretProblems(plan, secrets);
    if (problems.length > 0) throw new ConfigError(problems);
    return secrets;
  });
  return new Map(
    needing.map(({ node, names }) => [
      node.id,
      secret(
        checked.apply((secrets) =>
          JSON.stringify(Object.fromEntries(names.map((name) => [name, secrets[node.id]?.[name]]))),
        ),
      ),
    ]),
  );
}

import { fileURLToPath } from "node:url";
import { Config, log, output } from "@pulumi/pulumi";
import { adapters, bundle, functionNames, providerNames } from "../providers/index.ts";
import { ConfigError } from "./errors.ts";
import { Federation } from "./federation.ts";
import { stackOutputs } from "./outputs.ts";
import { type Plan, bundleProblems, makePlan } from "./plan.ts";
import { referenceProblems } from "./references.ts";
import { parseTopology, topologyKey } from "./topology.ts";
import { upstreamSecrets } from "./upstream-secrets.ts";
import { type UpstreamSecrets, upstreamSecretsKey } from "./upstreams.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const config = new Config();
const plan = planOf(config.getObject(topologyKey));
for (const notice of plan.notices) await log.warn(notice);

const bundles = new Map(
  await Promise.all(
    plan.bundles.map(async ({ id, provider, functions }) => {
      const target = adapters[provider].target;
      return [id, await bundle({ provider, functions, target }, root)] as const;
    }),
  ),
);

const tooLarge = bundleProblems(plan, bundles, adapters);
if (tooLarge.length > 0) throw new ConfigError(tooLarge);

const federation = new Federation(plan.network, {
  plan,
  bundles,
  adapters,
  upstreamSecrets: upstreamSecrets(plan, output(config.getSecretObject<UpstreamSecrets>(upstreamSecretsKey))),
});

export const { network, nodes, manifest, issuers } = stackOutputs(plan, federation, adapters);

/** Reads the config whole before it gives up, so that every mistake is shown at once. */
function planOf(config: unknown): Plan {
  const { topology, problems } = parseTopology(config);
  const mistakes = [
    ...problems,
    ...referenceProblems(config, { functions: functionNames(root), providers: providerNames }),
  ];
  if (!topology || mistakes.length > 0) throw new ConfigError(mistakes);
  const planned = makePlan(topology, { adapters });
  if (!planned.plan) throw new ConfigError(planned.problems);
  return planned.plan;
}

import * as z from "zod";
import type { Grant, ManifestNode, ManifestOrganization, NodeId } from "../../functions/node/federation/manifest.ts";
import type { PrivateJwk, PublicJwk } from "../../functions/node/platform.ts";
import {
  holds,
  nextManifest,
  parseManifest,
  type Holding,
  type ManifestContent,
  type SignedManifest,
} from "./manifest.ts";
import { ask, deliver, limitTo, type Answer, type Target } from "./nodes.ts";
import { defineResource, ResourceError, type ResourceContext } from "./resource.ts";

export interface WiringInputs {
  readonly network: string;
  readonly nodes: Readonly<Record<NodeId, ManifestNode>>;
  readonly keys: Readonly<Record<NodeId, readonly PublicJwk[]>>;
  readonly organizations: Readonly<Record<string, ManifestOrganization>>;
  readonly grants: readonly Grant[];
  /** The network's root key, a `PrivateJwk` as JSON text. */
  readonly rootKey: string;
  readonly readySeconds: number;
}

export interface WiringOutputs {
  readonly serial: number;
  /** `sha256:` + hex of `manifest`. */
  readonly digest: string;
  /** The signed manifest, a JWS in compact form. */
  readonly manifest: string;
  /** Serial that each node holds; nodes that gave no answer are absent. */
  readonly held: Readonly<Record<NodeId, number>>;
}

/** Requests under way at a time. */
const width = 32;
/** Manifests signed in one run before it gives up because nodes keep turning out to hold newer ones. */
const rounds = 3;

const names = z.array(z.string());
const publicJwk = z.looseObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string(), kid: z.string() });

// Loose: what is signed is what the plan says, also fields that this plugin has no business with.
const inputs = z.strictObject({
  network: z.string().min(1).describe("Name of the network."),
  nodes: z
    .record(
      z.string(),
      z.looseObject({
        organization: z.string(),
        provider: z.string(),
        url: z.url(),
        prefix: z.string(),
        functions: names,
      }),
    )
    .describe("Nodes by id (`organization/node`); the manifest goes to each of them."),
  keys: z.record(z.string(), z.array(publicJwk)).describe("Public keys by node id."),
  organizations: z
    .record(
      z.string(),
      z.looseObject({
        issuers: z.array(z.looseObject({ issuer: z.string(), keys: z.array(publicJwk) })),
        users: names,
      }),
    )
    .describe("Issuers and users by organization."),
  grants: z
    .array(
      z.looseObject({
        id: z.string(),
        from: z.string(),
        to: z.string(),
        nodes: names,
        tools: names,
        resources: names,
        prompts: names,
        expires: z.exactOptional(z.string()),
        rate: z.exactOptional(z.number()),
      }),
    )
    .describe("Grants that both organizations declared."),
  rootKey: z
    .string()
    .refine(
      isPrivateJwk,
      "must be a private Ed25519 JWK as JSON text, with kty, crv, x, d and kid: the output `privateKey` of a SigningKey",
    )
    .describe("Root key that signs the manifest, as JSON text."),
  readySeconds: z.number().min(0).default(60).describe("How long to wait for nodes that do not answer yet."),
});

/** Signs the network's manifest and brings it to every node; the last resource of a stack. */
export const wiring = defineResource<WiringInputs, WiringOutputs>({
  token: "federation:index:Wiring",
  description:
    "The signed manifest that wires a network: who its nodes are, their keys and grants. Holds once every node holds it.",
  inputs,
  secrets: ["rootKey"],
  replaceOn: ["network"],
  async create(wanted, context) {
    return { id: wanted.network, outputs: await wire(wanted, undefined, context) };
  },
  async update(_id, wanted, stored, context) {
    return { outputs: await wire(wanted, stored.outputs, context) };
  },
  async read(id, stored, context) {
    if (!stored?.outputs.manifest) {
      throw new ResourceError(
        `the wiring ${id} cannot be imported: declare it without an import; ` +
          "`pulumi up` asks the nodes what they hold and goes on from there",
      );
    }
    const { held, holders } = await observe(stored.outputs, context);
    const { nodes } = parseManifest(stored.outputs.manifest);
    // A node that does not hold the manifest is missing from the inputs, so that it shows as drift and `up` delivers again.
    const kept = Object.fromEntries(Object.entries(nodes).filter(([node]) => holders.has(node)));
    return { id, inputs: { ...stored.inputs, nodes: kept }, outputs: { ...stored.outputs, held } };
  },
  // Nodes keep what they hold: those that leave the stack are deleted with it, the others get the next manifest.
  async delete() {},
});

/** Create and update: see what is held, sign what is wanted, deliver it to whoever does not hold it, check. */
async function wire(
  wanted: WiringInputs,
  stored: WiringOutputs | undefined,
  context: ResourceContext,
): Promise<WiringOutputs> {
  const { rootKey, readySeconds, ...content } = wanted;
  const root = JSON.parse(rootKey) as PrivateJwk;
  const targets = targetsOf(content);
  const limit = limitTo(width);
  const deadline = performance.now() + readySeconds * 1000;
  const observed = await Promise.all(targets.map((target) => limit(() => ask(target, context.signal))));
  const answers = new Map<Target, Answer>(targets.map((target, index) => [target, observed[index]!]));

  let signed: SignedManifest;
  for (let round = 1; ; round++) {
    signed = await nextManifest(content, root, [...(stored ? [stored] : []), ...holdings(answers)]);
    const { jws } = signed;
    const missing = targets.filter((target) => !holdsIt(answers.get(target), signed));
    await Promise.all(
      missing.map(async (target) => answers.set(target, await deliver(target, jws, deadline, limit, context.signal))),
    );
    // A node that was silent before may hold a newer manifest, from a run whose state was lost.
    if (
      round === rounds ||
      !holdings(answers).some((holding) => holding.serial >= signed.serial && !holds(holding, signed))
    )
      break;
  }

  const held = heldBy(answers);
  const outputs = { serial: signed.serial, digest: signed.digest, manifest: signed.jws, held };
  const failed = targets.filter((target) => !holdsIt(answers.get(target), signed));
  if (failed.length === 0) return outputs;
  throw new ResourceError(failureMessage(wanted.network, signed, targets.length, failed, answers), {
    id: wanted.network,
    outputs,
  });
}

function failureMessage(
  network: string,
  { serial }: SignedManifest,
  total: number,
  failed: readonly Target[],
  answers: ReadonlyMap<Target, Answer>,
): string {
  return [
    `${failed.length} of ${total} nodes do not hold manifest ${serial} of the network ${network}:`,
    ...failed.map((target) => `  ${target.id} at ${target.url}: ${whyNot(answers.get(target))}`),
    ...(failed.length < total ? ["All other nodes hold it."] : []),
    "Mend this and run `pulumi up` again. A node that was only away also takes the manifest from its peers once it is back.",
  ].join("\n");
}

async function observe(
  stored: WiringOutputs,
  context: ResourceContext,
): Promise<{ held: WiringOutputs["held"]; holders: Set<NodeId> }> {
  const limit = limitTo(width);
  const answers = new Map<Target, Answer>();
  await Promise.all(
    targetsOf(parseManifest(stored.manifest)).map(async (target) => {
      const first = await limit(() => ask(target, context.signal));
      // One lost packet shall not look like a lost manifest.
      answers.set(target, first.fault && !first.fault.final ? await limit(() => ask(target, context.signal)) : first);
    }),
  );
  const holders = new Set<NodeId>();
  for (const [target, answer] of answers) {
    if (holdsIt(answer, stored)) holders.add(target.id);
    else
      context.log(
        "warning",
        `${target.id} at ${target.url} does not hold manifest ${stored.serial}: ${whyNot(answer)}`,
      );
  }
  return { held: heldBy(answers), holders };
}

function targetsOf(content: ManifestContent): Target[] {
  return Object.entries(content.nodes).map(([id, { url }]) => ({ network: content.network, id, url }));
}

function holdsIt(answer: Answer | undefined, manifest: Required<Holding>): boolean {
  return answer?.status !== undefined && holds(answer.status, manifest);
}

function holdings(answers: ReadonlyMap<Target, Answer>): Holding[] {
  return [...answers.values()].flatMap(({ status }) => (status ? [status] : []));
}

function heldBy(answers: ReadonlyMap<Target, Answer>): Record<NodeId, number> {
  const known = [...answers].flatMap(([target, { status }]) => (status ? [[target.id, status.serial] as const] : []));
  return Object.fromEntries(known.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function whyNot(answer: Answer | undefined): string {
  if (answer?.fault) return `it ${answer.fault.reason}`;
  if (!answer?.status) throw new Error("a node was not asked");
  return answer.status.serial === 0
    ? "it holds none"
    : `it holds manifest ${answer.status.serial}, ${answer.status.digest ?? "without a digest"}`;
}

function isPrivateJwk(text: string): boolean {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text);
  } catch {
    return false;
  }
  return publicJwk.extend({ d: z.string() }).safeParse(jwk).success;
}

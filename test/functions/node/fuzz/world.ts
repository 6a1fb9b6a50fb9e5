import { object } from "zod";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import { defaultLimits } from "../../../../functions/node/federation/limits.ts";
import { createNode } from "../../../../functions/node/node.ts";
import type { Node } from "../../../../functions/node/platform.ts";
import { hopMinter } from "../../../../functions/node/security/hop-token.ts";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import type { State } from "../../../../functions/node/state/state.ts";
import { grant, signManifest, TestNetwork, urlOf } from "../network.ts";

const self = "acme/edge";
const peer = "globex/compute";

/** The node under fuzzing, and everything that an attacker may start from. */
export interface World {
  /** A node as it is after a restart: no memory of faults, the manifest in its state. */
  node(): Node;
  /** What the peer answers from now on. */
  answerAsPeer(answer: (request: Request) => Promise<Response>): void;
  /** A new token of a user of the node's own organization, of a user with a narrow grant, of the peer acting for the latter. */
  token(of: "ada" | "grace" | "peer", scope?: string): Promise<string>;
  /** The manifest that the node holds, and a newer one that it would take. */
  readonly manifests: { readonly held: string; readonly newer: string };
  /** The serial that a node holds. */
  serial(node: Node): Promise<number>;
  /** Tools that were run since the last look. */
  takeRuns(): readonly { readonly tool: string; readonly subject: string }[];
  /** What the node wrote to its log since the last look. */
  takeLog(): readonly string[];
  /** Rejections that nobody handled since the last look. */
  takeUnhandled(): readonly string[];
}

/** Only `open` is granted to globex: `closed` must never run for its users. */
export async function makeWorld(): Promise<World> {
  const runs: { tool: string; subject: string }[] = [];
  const vault = defineFunction({
    name: "vault",
    tools: Object.fromEntries(
      ["open", "closed"].map((name) => [
        name,
        tool({
          description: "Counts.",
          input: object({}),
          run(_, { caller }) {
            runs.push({ tool: name, subject: caller.subject });
            return "ran";
          },
        }),
      ]),
    ),
    prompts: { ask: { arguments: { who: { required: true } }, get: ({ who }) => `Ask ${who}.` } },
    resources: {
      "vault://one": { name: "one", read: () => "1" },
      "vault://many/{id}": { name: "many", read: (_, { id }) => String(id) },
    },
  });
  const network = await TestNetwork.start({
    nodes: { [self]: [vault], [peer]: [vault] },
    users: { acme: ["ada"], globex: ["grace"] },
    grants: [
      grant("globex", "acme"),
      grant("acme", "globex", { tools: ["open"], resources: ["vault://one"], prompts: [] }),
    ],
  });
  const held = await signManifest(network.manifest, network.root);
  const newer = await signManifest({ ...network.manifest, serial: 2 }, network.root);
  const { config, key, state } = network.node(self);
  const mint = hopMinter(peer, network.node(peer).key);
  const start = createNode([vault], { ...defaultLimits, listBudget: 400, callDeadline: 400 });

  let answer: (request: Request) => Promise<Response> = async () => new Response(null, { status: 404 });
  const log: string[] = [];
  for (const level of ["log", "error"] as const) console[level] = (text: unknown) => void log.push(String(text));
  const unhandled: string[] = [];
  process.on("unhandledRejection", (cause) =>
    unhandled.push(cause instanceof Error ? String(cause.stack) : String(cause)),
  );

  return {
    node: () =>
      start({
        config,
        key,
        state: overlay(state),
        fetch: async (request) => await answer(request),
        waitUntil: (work) => void work.catch((cause: unknown) => unhandled.push(`waitUntil: ${String(cause)}`)),
      }),
    answerAsPeer: (given) => void (answer = given),
    async token(of, scope = "tools/call open") {
      if (of !== "peer") return await network.userToken(of === "ada" ? "ada@acme" : "grace@globex", self);
      const principal = { subject: "grace@globex", organization: "globex", actors: [], via: [] };
      return await mint({ audience: `${urlOf(self)}/mcp`, principal, callId: crypto.randomUUID(), scope, serial: 1 });
    },
    manifests: { held, newer },
    async serial(node) {
      const response = await node.fetch(new Request("http://acme.test/.well-known/federation"));
      return ((await response.json()) as { serial: number }).serial;
    },
    takeRuns: () => runs.splice(0),
    takeLog: () => log.splice(0),
    takeUnhandled: () => unhandled.splice(0),
  };
}

/** What one node writes is gone with it: cases do not see each other. */
function overlay(below: State): State {
  const own = memoryState();
  return {
    ...own,
    get: async (key) => (await own.get(key)) ?? (await below.get(key)),
    async cas(key, expected, value, options) {
      const lower = (await own.get(key)) ? undefined : await below.get(key);
      if (!lower) return await own.cas(key, expected, value, options);
      if (lower.version !== expected) return undefined;
      for (let version = 1; version <= expected; version += 1) await own.put(key, lower.value);
      return await own.put(key, value, options);
    },
  };
}

import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** What a node announces to its clients. */
export const serverCapabilities = {
  tools: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  prompts: { listChanged: true },
  completions: {},
  logging: {},
};

/** Client features that survive hops: each is asked for by `input_required`, which every node passes on. */
const bridged = ["sampling", "elicitation", "roots"] as const;

const needed: Readonly<Record<string, (typeof bridged)[number]>> = {
  "sampling/createMessage": "sampling",
  "elicitation/create": "elicitation",
  "roots/list": "roots",
};

/** The part of a client's capabilities that may go on to a peer. Extensions end here: nobody behind this node could answer in their terms. */
export function bridgedCapabilities(declared: unknown): Fields {
  if (!isFields(declared)) return {};
  return Object.fromEntries(bridged.filter((name) => isFields(declared[name])).map((name) => [name, declared[name]]));
}

/** Throws -32021 when a question needs something that the client did not declare, -32603 for one that no client knows. */
export function checkInputRequests(requests: unknown, capabilities: Fields): void {
  const missing = Object.values(isFields(requests) ? requests : {}).map((request) => {
    const method = isFields(request) ? String(request["method"]) : "";
    const capability = Object.hasOwn(needed, method) ? needed[method] : undefined;
    if (capability === undefined)
      throw new RpcError(code.internal, `The call asks the client for ${method}, which no client can answer`);
    const form = isFields(request) && isFields(request["params"]) ? request["params"]["mode"] : undefined;
    const declared = capabilities[capability];
    // An elicitation capability without modes means forms; a link has to be declared.
    const able = isFields(declared) && !(form === "url" && !isFields(declared["url"]));
    return able ? {} : { [capability]: form === "url" ? { url: {} } : {} };
  });
  const requiredCapabilities = Object.assign({}, ...missing) as Fields;
  if (Object.keys(requiredCapabilities).length > 0)
    throw new RpcError(
      code.missingCapability,
      `The call needs a client with ${Object.keys(requiredCapabilities).join(", ")}`,
      { requiredCapabilities },
    );
}

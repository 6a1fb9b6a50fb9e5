import { type Kind, listenMethod } from "./methods.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** What a client wants to hear of. */
export interface Filter {
  readonly kinds: readonly Kind[];
  readonly uris: readonly string[];
}

/** Fields of a `subscriptions/listen` filter by what they are about. */
const fields: readonly (readonly [Kind, string])[] = [
  ["tools", "toolsListChanged"],
  ["prompts", "promptsListChanged"],
  ["resources", "resourcesListChanged"],
];
const maxUris = 256;

export const everyKind: readonly Kind[] = fields.map(([kind]) => kind);

/** What a `notifications/.../list_changed` is about; undefined for other notifications. */
export function changedKind(method: string): Kind | undefined {
  return everyKind.find((kind) => method === `notifications/${kind}/list_changed`);
}

/** Reads the filter of a `subscriptions/listen`. Throws -32602. */
export function readFilter({ notifications }: Fields): Filter {
  if (!isFields(notifications))
    throw new RpcError(code.invalidParams, `${listenMethod}: params.notifications must be an object`);
  const uris = notifications["resourceSubscriptions"] ?? [];
  if (!Array.isArray(uris) || uris.length > maxUris || !uris.every((uri) => typeof uri === "string"))
    throw new RpcError(
      code.invalidParams,
      `${listenMethod}: params.notifications.resourceSubscriptions must be a list of at most ${maxUris} URIs`,
    );
  const kinds = fields.filter(([, field]) => notifications[field] === true).map(([kind]) => kind);
  return { kinds, uris: [...new Set(uris as string[])] };
}

/** Undoes {@link readFilter}. */
export function filterFields({ kinds, uris }: Filter): Fields {
  return {
    ...Object.fromEntries(fields.filter(([kind]) => kinds.includes(kind)).map(([, field]) => [field, true])),
    ...(uris.length > 0 && { resourceSubscriptions: uris }),
  };
}

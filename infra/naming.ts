import type { NameRule } from "../providers/adapter.ts";

/** `organization/node`. */
export function nodeId(organization: string, node: string): string {
  return `${organization}/${node}`;
}

/** Name of a node in its provider's account. The network's name keeps stacks apart that share an account. */
export function physicalName(network: string, organization: string, node: string): string {
  return `${network}-${organization}-${node}`;
}

/** What the names of a node's tools and prompts carry on other nodes if nothing else is configured: `globex-compute` makes `globex-compute.echo`. */
export function peerPrefix(organization: string, node: string): string {
  return `${organization}-${node}`;
}

/** True where the provider accepts the name. */
export function fits(name: string, rule: NameRule): boolean {
  return name.length <= rule.maxLength && rule.pattern.test(name);
}

/** Groups of two or more keys that share a value; the order is that of the first key. */
export function collisions(names: ReadonlyMap<string, string>): readonly { value: string; keys: readonly string[] }[] {
  const keysByValue = new Map<string, string[]>();
  for (const [key, value] of names) keysByValue.set(value, [...(keysByValue.get(value) ?? []), key]);
  return [...keysByValue].filter(([, keys]) => keys.length > 1).map(([value, keys]) => ({ value, keys }));
}

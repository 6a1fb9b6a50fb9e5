import { CliError } from "./errors.ts";
import type { Project } from "./project.ts";
import { readOutputs } from "./pulumi.ts";

/** A deployed node, as the stack's outputs name it. */
export interface DeployedNode {
  readonly organization: string;
  readonly provider: string;
  readonly runtime: string;
  /** Base URL without a trailing slash. */
  readonly url: string;
  readonly functions: readonly string[];
}

/** What signs tokens for an organization's users. */
export interface Issuer {
  readonly issuer: string;
  /** Private Ed25519 key, a JSON Web Key as text. */
  readonly key: string;
  readonly users: readonly string[];
}

/** The outputs of a stack. */
export interface Network {
  readonly network: string;
  /** By `organization/node`. */
  readonly nodes: Readonly<Record<string, DeployedNode>>;
  readonly manifest: { readonly serial: number; readonly digest: string };
  /** By organization. */
  readonly issuers: Readonly<Record<string, Issuer>>;
}

/** A user of an organization. */
export interface User {
  readonly name: string;
  readonly organization: string;
}

/** The network that a stack has deployed. */
export async function readNetwork(project: Project, stack: string): Promise<Network> {
  const network = JSON.parse(await readOutputs(project, stack)) as Partial<Network>;
  const missing = (["network", "nodes", "manifest", "issuers"] as const).filter((name) => network[name] === undefined);
  if (missing.length > 0)
    throw new CliError(
      `stack ${stack} has no output ${missing.join(", ")}: it is not deployed, run \`npx federation up\``,
    );
  return network as Network;
}

/** The node with an id `organization/node`, or with a name that only one organization uses; without one the first. */
export function findNode({ nodes }: Network, wanted: string | undefined): DeployedNode & { readonly id: string } {
  const ids = Object.keys(nodes);
  const found =
    wanted === undefined ? ids.slice(0, 1) : ids.filter((id) => id === wanted || id.split("/")[1] === wanted);
  if (found.length === 1) return { id: found[0]!, ...nodes[found[0]!]! };
  if (wanted === undefined) throw new CliError("the network has no nodes");
  throw new CliError(
    `${found.length === 0 ? "there is no node" : "several organizations have a node"} "${wanted}"; nodes: ${ids.join(", ")}`,
  );
}

/** All users, in the order of the stack config. */
export function usersOf({ issuers }: Network): User[] {
  return Object.entries(issuers).flatMap(([organization, { users }]) => users.map((name) => ({ name, organization })));
}

/** The user `name@organization`; without one the first of an organization (of the first one that has users). */
export function findUser(network: Network, wanted: string | undefined, organization?: string): User {
  const users = usersOf(network);
  const found =
    wanted === undefined
      ? users.find((user) => organization === undefined || user.organization === organization)
      : users.find((user) => subject(user) === wanted);
  if (found) return found;
  const all = users.map(subject).join(", ") || "none";
  if (wanted !== undefined) throw new CliError(`there is no user "${wanted}"; users: ${all}`);
  throw new CliError(
    organization
      ? `organization ${organization} has no users: name one with --user (${all})`
      : "the network has no users",
  );
}

/** `name@organization`, as tokens name a user. */
export function subject({ name, organization }: User): string {
  return `${name}@${organization}`;
}

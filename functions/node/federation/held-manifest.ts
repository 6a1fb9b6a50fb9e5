import { compactVerify } from "jose/jws/compact/verify";
import { isFields } from "../protocol/rpc.ts";
import type { NodeConfig } from "../platform.ts";
import { verificationKey } from "../security/keys.ts";
import { type Manifest, manifestType, type NodeId } from "./manifest.ts";

/** A manifest whose signature was checked, with what is looked up in it often. */
export interface HeldManifest {
  readonly jws: string;
  /** `sha256:` + hex of the JWS text. */
  readonly digest: string;
  readonly serial: number;
  readonly manifest: Manifest;
  /** Peers (not this node) by the prefix of their names. */
  readonly peers: ReadonlyMap<string, NodeId>;
}

/** A manifest that the node must not take; `status` is the HTTP status that says why. */
export class ManifestRefused extends Error {
  override readonly name = "ManifestRefused";
  readonly status: 400 | 401 | 409;

  constructor(status: 400 | 401 | 409, message: string) {
    super(message);
    this.status = status;
  }
}

/** Checks signature, type, shape and network of a manifest in JWS compact form. Throws {@link ManifestRefused}. */
export async function openManifest(jws: string, config: NodeConfig): Promise<HeldManifest> {
  const manifest = await verified(jws, config);
  if (manifest.network !== config.network) {
    throw new ManifestRefused(
      409,
      `the manifest is for the network ${JSON.stringify(manifest.network)}; this node belongs to ${config.network}`,
    );
  }
  const peers = new Map<string, NodeId>();
  for (const [id, { prefix }] of Object.entries(manifest.nodes)) {
    if (id === config.node) continue;
    const other = peers.get(prefix);
    if (other !== undefined)
      throw new ManifestRefused(400, `the manifest gives ${other} and ${id} the same prefix ${prefix}`);
    peers.set(prefix, id);
  }
  return { jws, digest: await digestOf(jws), serial: manifest.serial, manifest, peers };
}

/** `sha256:` + hex of a manifest's JWS text. */
export async function digestOf(jws: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(jws)));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

async function verified(jws: string, config: NodeConfig): Promise<Manifest> {
  let payload: Uint8Array;
  try {
    const key = await verificationKey(config.root);
    const result = await compactVerify(jws, key, { algorithms: ["EdDSA"] });
    if (result.protectedHeader.typ !== manifestType) throw new Error(`typ is not ${manifestType}`);
    payload = result.payload;
  } catch (cause) {
    throw new ManifestRefused(
      401,
      `the body is not a manifest signed by the root key of ${config.network}: ${(cause as Error).message}`,
    );
  }
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    throw new ManifestRefused(400, "the manifest's payload is not JSON");
  }
  const fault = shapeFault(body);
  if (fault) throw new ManifestRefused(400, `the manifest is signed but malformed: ${fault}`);
  return body as Manifest;
}

/** The root signs only what the toolkit made, so this catches version skew, not attacks: the fields whose absence would crash later. */
function shapeFault(body: unknown): string | undefined {
  if (!isFields(body)) return "it is not an object";
  if (typeof body["network"] !== "string") return "network is not a string";
  if (!Number.isSafeInteger(body["serial"]) || (body["serial"] as number) < 1)
    return "serial is not a whole number above 0";
  for (const field of ["nodes", "keys", "organizations"])
    if (!isFields(body[field])) return `${field} is not an object`;
  if (!Array.isArray(body["grants"])) return "grants is not a list";
  for (const [id, node] of Object.entries(body["nodes"] as object)) {
    if (!isFields(node)) return `nodes["${id}"] is not an object`;
    for (const field of ["organization", "url", "prefix"])
      if (typeof node[field] !== "string") return `nodes["${id}"].${field} is not a string`;
  }
  return undefined;
}

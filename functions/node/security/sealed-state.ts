import type { PrivateJwk } from "../platform.ts";
import { code, type Fields, isFields, RpcError } from "../protocol/rpc.ts";

/** What a sealed state is bound to: it opens only for the same user, the same other side, the same call. */
export interface SealContext {
  readonly subject: string;
  /** Who made the state: a peer's id, `upstream <name>`, or the node itself. */
  readonly maker: string;
  readonly method: string;
  readonly params: Fields;
}

/** Seals the `requestState` of multi-round calls, which travels with the client between two rounds. */
export interface StateSeal {
  /** `lifetime` in milliseconds; a quarter of an hour, which a person may take to answer, when absent. */
  seal(state: string, context: SealContext, lifetime?: number): Promise<string>;
  /** Throws -32602 for a state that is not this node's, too old, or was made for another call. */
  open(sealed: string, context: SealContext): Promise<string>;
}

/** Milliseconds. */
const defaultLifetime = 15 * 60_000;
const ivBytes = 12;

/** AES-GCM (NIST SP 800-38D) with a key derived from the node's private key by HKDF (RFC 5869). */
export function stateSeal(key: PrivateJwk, now: () => number = () => Date.now()): StateSeal {
  let derived: Promise<CryptoKey> | undefined;
  const sealingKey = () => (derived ??= derive(key));

  return {
    async seal(state, context, lifetime = defaultLifetime) {
      const iv = crypto.getRandomValues(new Uint8Array(ivBytes));
      const text = encode(JSON.stringify([now() + lifetime, state]));
      const box = await crypto.subtle.encrypt(algorithm(iv, context), await sealingKey(), text);
      const bytes = new Uint8Array(ivBytes + box.byteLength);
      bytes.set(iv);
      bytes.set(new Uint8Array(box), ivBytes);
      return toBase64(bytes);
    },
    async open(sealed, context) {
      let opened: [number, string];
      try {
        const bytes = fromBase64(sealed);
        const text = await crypto.subtle.decrypt(
          algorithm(bytes.subarray(0, ivBytes), context),
          await sealingKey(),
          bytes.subarray(ivBytes),
        );
        opened = JSON.parse(new TextDecoder().decode(text)) as [number, string];
      } catch {
        // One answer for all reasons: what is wrong with a forged state is nobody's business.
        throw invalid();
      }
      if (now() > opened[0]) throw invalid();
      return opened[1];
    },
  };
}

function invalid(): RpcError {
  return new RpcError(code.invalidParams, "Invalid or expired requestState", { reason: "invalid_request_state" });
}

async function derive({ d }: PrivateJwk): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", fromBase64(d), "HKDF", false, ["deriveKey"]);
  const info = encode("ai-federation request state");
  return await crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info },
    material,
    { name: "AES-GCM", length: 256 },
    false,
    ["encrypt", "decrypt"],
  );
}

function algorithm(iv: Uint8Array<ArrayBuffer>, { subject, maker, method, params }: SealContext) {
  const { inputResponses: _, requestState: __, ...call } = params;
  return { name: "AES-GCM", iv, additionalData: encode(JSON.stringify([subject, maker, method, sorted(call)])) };
}

/** The value with the members of its objects in order of their names: the second round may be serialized by other code than the first. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isFields(value)) return value;
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => [name, sorted(member)]);
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function toBase64(bytes: Uint8Array): string {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

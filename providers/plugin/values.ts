/**
 * Property values as the engine sends them ("wire") and as resource types see them ("plain").
 *
 * On the wire a secret, an output or a reference to a resource is an object with a signature, and a value that a preview
 * does not know yet is one of a few fixed strings. The signatures are the engine's (sdk/go/common/resource/sig).
 */

const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const outputSignature = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const resourceSignature = "5cf8f73096256a8f31e491e813e4eb8e";

const unknownString = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const unknownStrings: ReadonlySet<unknown> = new Set([
  unknownString,
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", // boolean
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421", // number
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2", // array
  "030794c1-ac77-496b-92df-f27374a8bd58", // asset
  "e48ece36-62e2-4504-bad9-02848725956a", // archive
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff", // object
]);

/** A plain value that a preview does not know yet. */
export const unknown: unique symbol = Symbol("unknown");

/** Property name to value, either on the wire or plain. */
export type Properties = Record<string, unknown>;

export function isObject(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Plain value of a wire value: secrets opened, references to resources as their id, unknowns as `unknown`. */
export function open(wire: unknown): unknown {
  if (unknownStrings.has(wire)) return unknown;
  if (Array.isArray(wire)) return wire.map(open);
  if (!isObject(wire)) return wire;
  switch (wire[signatureKey]) {
    case secretSignature:
      return open(wire["value"]);
    case outputSignature:
      return "value" in wire ? open(wire["value"]) : unknown;
    case resourceSignature:
      // A custom resource stands for its id, a component for its URN; the id is empty while it is not known.
      return "id" in wire ? (wire["id"] === "" ? unknown : open(wire["id"])) : wire["urn"];
    default:
      return openAll(wire);
  }
}

/** `open` for each property. */
export function openAll(wire: Properties): Properties {
  return Object.fromEntries(Object.entries(wire).map(([key, value]) => [key, open(value)]));
}

/** Wire value of a plain value. Undefined properties are left out. Throws on what a stack cannot store. */
export function seal(plain: unknown): unknown {
  if (plain === unknown) return unknownString;
  if (plain === null || typeof plain === "string" || typeof plain === "boolean") return plain;
  if (typeof plain === "number" && Number.isFinite(plain)) return plain;
  if (Array.isArray(plain)) return plain.map(seal);
  if (isObject(plain)) {
    const defined = Object.entries(plain).filter(([, value]) => value !== undefined);
    return Object.fromEntries(defined.map(([key, value]) => [key, seal(value)]));
  }
  throw new TypeError(`a resource property cannot be ${typeof plain === "number" ? plain : `a ${typeof plain}`}`);
}

/**
 * Wire form of plain properties. Encrypted are those that `secrets` names, and whatever is a secret at the same place of
 * `like`: an input that arrived as a secret stays one in what Check answers and in the outputs.
 */
export function sealAll(plain: Properties, secrets: readonly PropertyKey[], like: Properties): Properties {
  const defined = Object.entries(plain).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    defined.map(([key, value]) => [
      key,
      secrets.includes(key) ? secret(seal(value)) : markLike(seal(value), like[key]),
    ]),
  );
}

/** True where a preview does not know some part of the plain value. */
export function hasUnknown(plain: unknown): boolean {
  if (plain === unknown) return true;
  if (Array.isArray(plain)) return plain.some(hasUnknown);
  return isObject(plain) && Object.values(plain).some(hasUnknown);
}

/** Thrown by what `guardUnknowns` returns. */
export class UnknownRead extends Error {
  override readonly name = "UnknownRead";
}

/** A copy that throws `UnknownRead` where code reads a value that is not known yet. */
export function guardUnknowns<T>(plain: T): T {
  if (Array.isArray(plain)) return guard(plain.map(guardUnknowns), plain) as T;
  if (isObject(plain)) {
    return guard(
      Object.fromEntries(Object.entries(plain).map(([key, value]) => [key, guardUnknowns(value)])),
      plain,
    ) as T;
  }
  return plain;
}

function guard(copy: object, plain: object): object {
  for (const [key, value] of Object.entries(plain)) {
    if (value !== unknown) continue;
    Object.defineProperty(copy, key, {
      enumerable: true,
      get: () => {
        throw new UnknownRead(`${key} is not known yet`);
      },
    });
  }
  return copy;
}

function secret(wire: unknown): unknown {
  return isSecret(wire) ? wire : { [signatureKey]: secretSignature, value: wire };
}

function isSecret(wire: unknown): boolean {
  if (!isObject(wire)) return false;
  return wire[signatureKey] === secretSignature || (wire[signatureKey] === outputSignature && wire["secret"] === true);
}

/** True where some part of the wire value is a secret. */
export function hasSecret(wire: unknown): boolean {
  if (isSecret(wire)) return true;
  return typeof wire === "object" && wire !== null && Object.values(wire).some(hasSecret);
}

function markLike(wire: unknown, like: unknown): unknown {
  if (isSecret(like)) return secret(wire);
  if (isObject(wire) && isObject(like)) {
    return Object.fromEntries(Object.entries(wire).map(([key, value]) => [key, markLike(value, like[key])]));
  }
  if (Array.isArray(wire) && Array.isArray(like) && wire.length === like.length) {
    return wire.map((value, index) => markLike(value, like[index]));
  }
  // Another shape than it had: which part was the secret cannot be told any more.
  return hasSecret(like) ? secret(wire) : wire;
}

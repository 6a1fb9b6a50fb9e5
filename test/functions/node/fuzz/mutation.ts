import fc from "fast-check";

/** A change to a signed text. */
export type Mutation =
  | { readonly do: "char"; readonly at: number; readonly to: string }
  | { readonly do: "cut"; readonly at: number; readonly length: number }
  | { readonly do: "insert"; readonly at: number; readonly text: string }
  | { readonly do: "segment"; readonly nth: 0 | 1 | 2; readonly text: string }
  | { readonly do: "header" | "claim"; readonly name: string; readonly json: string };

const at = fc.nat(4_000);
const base64url = fc.string({
  unit: fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
  maxLength: 12,
});
const claims = [
  "iss",
  "sub",
  "aud",
  "exp",
  "iat",
  "nbf",
  "jti",
  "via",
  "act",
  "cid",
  "serial",
  "scope",
  "network",
  "nodes",
  "grants",
  "keys",
  "__proto__",
];
const values = fc.oneof(
  fc.constantFrom('"none"', '"HS256"', '"EdDSA"', '"ES256"', '""', "null", "[]", "{}", "0", "99999999999", "true"),
  fc.constantFrom(
    '"at+jwt"',
    '"federation-hop+jwt"',
    '"federation-manifest+jwt"',
    '["b64"]',
    '"ada@acme"',
    '"tools/call closed"',
    '"globex/compute"',
  ),
);

export const mutations: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ do: fc.constant("char"), at, to: fc.constantFrom(..."AbC9-_.=~ /+") }),
  fc.record({ do: fc.constant("cut"), at, length: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ do: fc.constant("insert"), at, text: base64url }),
  fc.record({ do: fc.constant("segment"), nth: fc.constantFrom(0, 1, 2), text: base64url }),
  fc.record({
    do: fc.constant("header"),
    name: fc.constantFrom("alg", "typ", "kid", "crit", "b64", "jwk", "jku", "zip"),
    json: values,
  }),
  fc.record({ do: fc.constant("claim"), name: fc.constantFrom(...claims), json: values }),
);

/** The text after the change; undefined when it still says the same, byte for byte after decoding. */
export function mutate(text: string, mutation: Mutation): string | undefined {
  const changed = apply(text, mutation);
  return decoded(changed) === decoded(text) ? undefined : changed;
}

function apply(text: string, mutation: Mutation): string {
  const parts = text.split(".");
  switch (mutation.do) {
    case "char":
      return splice(text, mutation.at, 1, mutation.to);
    case "cut":
      return splice(text, mutation.at, mutation.length, "");
    case "insert":
      return splice(text, mutation.at, 0, mutation.text);
    case "segment":
      return parts.with(mutation.nth, mutation.text).join(".");
    case "header":
    case "claim": {
      const nth = mutation.do === "header" ? 0 : 1;
      const json = JSON.parse(Buffer.from(parts[nth] as string, "base64url").toString()) as object;
      const rest = Object.entries(json)
        .filter(([name]) => name !== mutation.name)
        .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
      const made = `{${[...rest, `${JSON.stringify(mutation.name)}:${mutation.json}`].join(",")}}`;
      return parts.with(nth, Buffer.from(made).toString("base64url")).join(".");
    }
  }
}

function splice(text: string, at: number, length: number, put: string): string {
  const from = at % text.length;
  return text.slice(0, from) + put + text.slice(from + length);
}

/** Base64 has more than one text for the same bytes; a manifest may have space around it. */
function decoded(text: string): string {
  return text
    .trim()
    .split(".")
    .map((part) => Buffer.from(part, "base64url").toString("hex"))
    .join(".");
}

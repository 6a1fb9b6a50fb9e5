import fc from "fast-check";

/** Names that trip up code that builds objects, and those that the protocol gives a meaning. */
const keys = (
  "__proto__ constructor prototype toString hasOwnProperty then toJSON length jsonrpc id method params result error code message data " +
  "_meta name uri uriTemplate arguments cursor nextCursor progressToken requestState tools resources prompts content contents " +
  "messages resource type resultType ttlMs"
)
  .split(" ")
  .concat("");

const strings: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom(...keys, "open", "closed", "globex-compute.open", "vault://one", "2.0", "complete"),
  },
  { weight: 3, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("\ud800", "a\udfffb", "\u0000", "\u2028", "\ufeff", "\u202e", "x".repeat(100_000)),
  },
);

const scalars = fc.oneof(
  strings.map((text) => JSON.stringify(text)),
  fc.constantFrom(
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1e999",
    "9007199254740993",
    "1.5",
    '"\\ud800"',
    '"\\u0000"',
  ),
);

const depths = fc.oneof(fc.nat(300), fc.nat(20_000));

/** JSON as text, so that it may hold what no object can: a key twice, numbers out of range. */
export const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: "json" },
    { weight: 40, arbitrary: scalars },
    {
      weight: 10,
      arbitrary: fc
        .array(tie("value"), { maxLength: 4, depthIdentifier: "json" })
        .map((items) => `[${items.join(",")}]`),
    },
    { weight: 15, arbitrary: objectText(tie("value")) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom("[", '{"a":', '{"__proto__":'), depths)
        .map(([open, depth]) => nested(open, depth)),
    },
  ),
})).value;

/** An object of any members, and of those given, each once, twice or not at all. */
export function objectText(
  value: fc.Arbitrary<string>,
  members: Readonly<Record<string, fc.Arbitrary<string>>> = {},
): fc.Arbitrary<string> {
  const given = Object.entries(members).map(([key, text]) =>
    fc
      .tuple(fc.constantFrom(...Array.from({ length: 20 }, () => 1), 0, 2), text, text)
      .map(([times, ...texts]) => texts.slice(0, times).map((one) => `${JSON.stringify(key)}:${one}`)),
  );
  const free = fc.array(fc.tuple(fc.constantFrom(...keys), value), { maxLength: 4 });
  const others =
    given.length === 0 ? free : fc.oneof({ weight: 10, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: free });
  return fc
    .tuple(others, ...given)
    .map(
      ([free, ...lists]) =>
        `{${[...lists.flat(), ...free.map(([key, text]) => `${JSON.stringify(key)}:${text}`)].join(",")}}`,
    );
}

/** What belongs there, and now and then anything else. */
export function mostly(expected: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof({ weight: 12, arbitrary: expected }, { weight: 1, arbitrary: jsonText });
}

/** JSON text of fixed words. */
export function words(...texts: readonly unknown[]): fc.Arbitrary<string> {
  return fc.constantFrom(...texts.map((text) => JSON.stringify(text)));
}

function nested(open: string, depth: number): string {
  return open.repeat(depth) + "1" + (open === "[" ? "]" : "}").repeat(depth);
}

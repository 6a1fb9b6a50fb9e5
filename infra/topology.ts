import * as z from "zod";
import type { ProviderName } from "../providers/adapter.ts";
import { adapters, providerNames } from "../providers/index.ts";
import type { Problem } from "./errors.ts";

const nameWords = "a lower-case letter, then lower-case letters and digits, parts joined by single dashes";

function name(longest: number) {
  return z
    .string()
    .max(longest)
    .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, { error: `must be ${nameWords}` });
}

const userName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: "must be 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
});
const patterns = z.array(z.string().min(1).max(256)).min(1);

// Pulumi reads an unquoted YAML time as a time and hands it on as Go prints one: `2030-01-01 00:00:00 +0000 UTC`.
const time = z
  .string()
  .overwrite((text) => text.replace(/^(\S+) (\S+) ([+-]\d\d)(\d\d) \S+$/, "$1T$2$3:$4").replace(/\+00:00$/, "Z"))
  .check(z.iso.datetime({ offset: true }));

const prefix = z
  .string()
  .regex(/^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$/, { error: `must be ${nameWords}, or empty` })
  .max(61);
const serverUrl = z
  .url({ protocol: /^https?$/ })
  .refine((url) => /^https:|^http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/]/.test(url), {
    error: "must be an https URL; http only on this machine",
  });

const upstream = z
  .strictObject({
    url: serverUrl.describe("MCP endpoint of the server"),
    prefix: prefix
      .optional()
      .describe(
        "What its names carry on the node: prefix.tool, prefix+uri. Default: its name here; empty: they stay as they are",
      ),
    auth: z
      .union(
        [
          z.enum(["none", "bearer"]),
          z.strictObject({ tokenUrl: serverUrl, clientId: z.string().min(1), scope: z.string().min(1).optional() }),
        ],
        { error: "must be none, bearer, or { tokenUrl, clientId } for OAuth client credentials" },
      )
      .default("none")
      .describe("How the node proves itself; the secret is in ai-federation:upstreamSecrets"),
    era: z.enum(["auto", "modern", "legacy"]).default("auto").describe("Era of MCP that it speaks"),
  })
  .describe("A third-party MCP server that the node imports");

const node = z
  .strictObject({
    provider: z.enum(providerNames as [ProviderName, ...ProviderName[]]).describe("Where the node runs"),
    functions: z.array(z.string()).default([]).describe("Functions it runs: names of folders in functions/"),
    upstreams: z.record(name(30), upstream).optional().describe("Third-party MCP servers by name"),
    prefix: prefix
      .optional()
      .describe("What its names carry on other nodes. Default: organization-node; empty: they stay as they are"),
  })
  .refine(({ functions, upstreams = {} }) => functions.length > 0 || Object.keys(upstreams).length > 0, {
    error: "serves nothing: name functions or upstreams",
  })
  .describe("One deployed MCP function");

const grant = z
  .strictObject({
    to: z.string().describe("Organization that may use what is granted"),
    nodes: patterns.default(["*"]).describe("Nodes of this organization; * stands for any text"),
    tools: patterns.optional().describe("Tool names as the function gives them; * stands for any text. Absent: none"),
    resources: patterns
      .optional()
      .describe("Resource URIs as the function gives them; * stands for any text. Absent: none"),
    prompts: patterns
      .optional()
      .describe("Prompt names as the function gives them; * stands for any text. Absent: none"),
    expires: time.optional().describe("RFC 3339 time after which the grant is void"),
    rate: z.int().min(1).max(1_000_000).optional().describe("Calls per minute and node"),
  })
  .refine((value) => value.tools ?? value.resources ?? value.prompts, {
    error: "grants nothing: name tools, resources or prompts",
  })
  .describe("What another organization may use; effective once that organization accepts it");

const organization = z
  .strictObject({
    users: z.array(userName).default([]).describe("Users that this organization vouches for"),
    providers: z
      .strictObject(
        Object.fromEntries(providerNames.map((key) => [key, adapters[key].settings.optional()])) as Record<
          ProviderName,
          z.ZodOptional<z.ZodType>
        >,
      )
      .default({} as never)
      .describe("Facts of this organization's accounts"),
    nodes: z.record(name(30), node).describe("Nodes by name"),
    grants: z.array(grant).default([]).describe("What this organization lets others use"),
    accepts: z.array(z.string()).default([]).describe("Organizations whose grants this organization takes up"),
  })
  .describe("Owns nodes, users and grants");

/** The stack config's `ai-federation:topology`: the one source of types, of `stacks/schema.json` and of error messages. */
export const topologySchema = z.strictObject({
  network: name(20).describe("Name of the network; part of every physical name"),
  organizations: z
    .record(name(30), organization)
    .refine((value) => Object.keys(value).length > 0, { error: "needs at least one organization" })
    .describe("Organizations by name"),
});

export type Topology = z.output<typeof topologySchema>;
export type Organization = Topology["organizations"][string];

/** Config key, in the project's namespace, that holds the topology. */
export const topologyKey = "topology";

/** JSON Schema (2020-12) of a whole stack file, for editors. */
export function stackFileSchema(): object {
  const file = z.looseObject({ config: z.looseObject({ [`ai-federation:${topologyKey}`]: topologySchema }) });
  return { title: "ai-federation stack", ...z.toJSONSchema(file, { io: "input" }) };
}

/** Reads a topology, or says all that is wrong with it. */
export function parseTopology(
  value: unknown,
): { topology: Topology; problems: [] } | { topology?: undefined; problems: Problem[] } {
  const result = topologySchema.safeParse(value, { reportInput: true });
  if (result.success) return { topology: result.data, problems: [] };
  return { problems: result.error.issues.flatMap((issue) => problemsOf(issue, value)) };
}

function problemsOf(issue: z.core.$ZodIssue, root: unknown): Problem[] {
  const path = issue.path.map(String);
  const at = (extra: readonly string[] = []) => [topologyKey, ...path, ...extra].join(".");
  const value = valueAt(root, path);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        path: at([key]),
        value: valueAt(root, [...path, key]),
        problem: "is not a known setting",
        allowed: knownKeys(path),
        remedy: "Check the spelling, or remove it.",
      }));
    case "invalid_value":
      return [
        {
          path: at(),
          value,
          problem: "is not one of the allowed values",
          allowed: issue.values.map(String).join(", "),
          remedy: "Write one of the allowed values.",
        },
      ];
    case "invalid_type":
      return value === undefined
        ? [{ path: at(), value, problem: "is missing", allowed: describeType(issue.expected), remedy: "Add it." }]
        : [
            {
              path: at(),
              value,
              problem: "has the wrong type",
              allowed: describeType(issue.expected),
              remedy: "Write a value of that type.",
            },
          ];
    case "too_big":
      return [
        {
          path: at(),
          value,
          problem: "is too large",
          allowed: `at most ${issue.maximum}${unit(issue.origin)}`,
          remedy: "Make it smaller.",
        },
      ];
    case "too_small":
      return [
        {
          path: at(),
          value,
          problem: "is too small",
          allowed: `at least ${issue.minimum}${unit(issue.origin)}`,
          remedy: "Make it larger.",
        },
      ];
    case "invalid_key":
      return issue.issues.map((inner) => ({
        path: at(),
        value: path.at(-1),
        problem: "is not a valid name",
        allowed: inner.code === "too_big" ? `at most ${inner.maximum} characters` : nameWords,
        remedy: "Rename it.",
      }));
    case "invalid_format":
      return [
        {
          path: at(),
          value,
          problem: "has the wrong form",
          allowed: issue.format === "datetime" ? "an RFC 3339 time, for example 2027-01-31T00:00:00Z" : issue.message,
          remedy: "Write it in that form.",
        },
      ];
    default:
      return [{ path: at(), value, problem: "is not valid", allowed: issue.message, remedy: "Correct it." }];
  }
}

function valueAt(root: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined | null)?.[key], root);
}

function describeType(expected: string): string {
  const article = /^[aeiou]/.test(expected) ? "an" : "a";
  return expected === "record" ? "an object" : expected === "array" ? "a list" : `${article} ${expected}`;
}

function unit(origin: string): string {
  return origin === "string" ? " characters" : origin === "array" ? " entries" : "";
}

/** The settings that the schema knows at a path, for the message about an unknown one. */
function knownKeys(path: readonly string[]): string {
  let schema: z.core.$ZodType | undefined = topologySchema;
  for (const key of path) schema = child(unwrap(schema), key);
  const inner = unwrap(schema);
  return inner instanceof z.ZodObject ? Object.keys(inner.shape).join(", ") : "no other settings";
}

function child(schema: z.core.$ZodType | undefined, key: string): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodObject) return (schema.shape as Record<string, z.core.$ZodType>)[key];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  if (schema instanceof z.ZodArray) return schema.element;
  return undefined;
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? unwrap(schema.unwrap()) : schema;
}

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Ajv } from "ajv";
import type { ValidateFunction } from "ajv";

const specs = resolve(import.meta.dirname, "../../../../shared/specs");
const documentPath = resolve(specs, "fly-machines.openapi.json");
export const recordingPath = resolve(specs, "captured/flyctl0.4.83.jsonl");

/** Why the contract tests cannot run; undefined where they can. */
export const missing = [documentPath, recordingPath].find((path) => !existsSync(path));
if (missing) console.warn(`SKIPPED: Fly's API document or the recording of fly is not at ${missing}`);

interface Exchange {
  readonly method: string;
  /** With query, from `/v1` on. */
  readonly path: string;
  readonly body: unknown;
  readonly status: number;
  readonly answer: unknown;
}

/** How the wire differs from the document, seen with fly 0.4.83 or in Fly's own pages; checked 2026-11-22. */
const accepted: readonly (readonly [problem: RegExp, reason: string])[] = [
  [/^POST \/v1\/apps request \/app_role_id /, "fly sends it"],
  [
    /^(POST|GET) \/v1\/apps(\/\{app_name\})? \d+ .*\/(id|name|internal_numeric_id|network|status|machine_count|volume_count|organization) is not/,
    "fly decodes a whole App from a create",
  ],
  [/ request \/config\/services\/\d+\/autostop must be /, "fly sends the older boolean"],
  [/ \d+ .*\/config\/services\/\d+\/autostop must be /, "the API answers the older boolean to it"],
  [/\/config\/services\/\d+\/force_instance_key must be string/, "fly sends null"],
  [/\/lease 20[01] \/(status|data) is not/, "the API wraps the lease"],
  [/^POST .*\/stop request \/id is not/, "fly repeats the machine's id"],
  [
    /^(POST|PUT|GET|DELETE) \/v1\/apps\/[^/]+\/volumes.* is not in the document/,
    "the document holds no change of a volume; Fly's pages do",
  ],
  [/ 200 .*\/attached_machine_id must be string/, "null while it is in no machine"],
];

type Schema = Record<string, any>;

/** Checks requests and answers against Fly's own document, with every unknown property as a fault. */
export class Contract {
  readonly #paths: Record<string, Record<string, Schema>>;
  readonly #ajv: Ajv;
  readonly #compiled = new Map<object, ValidateFunction>();
  readonly #usedExceptions = new Set<RegExp>();
  readonly problems: string[] = [];
  /** Operations of the document that were exercised. */
  readonly seen = new Set<string>();

  constructor() {
    const document = JSON.parse(readFileSync(documentPath, "utf8")) as Schema;
    this.#paths = document["paths"];
    this.#ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
    this.#ajv.addSchema({ $id: "fly", components: closed(document["components"]) });
  }

  check({ method, path, body, status, answer }: Exchange): void {
    const { pathname } = new URL(path, "http://fly.invalid");
    const template = Object.keys(this.#paths).find(
      (candidate) =>
        candidate.split("/").length === pathname.split("/").length &&
        candidate.split("/").every((part, index) => part.startsWith("{") || part === pathname.split("/")[index]),
    );
    const operation = template && this.#paths[template]?.[method.toLowerCase()];
    if (!operation) return this.#report(`${method} ${pathname} is not in the document`);
    const name = `${method} ${template}`;
    this.seen.add(name);
    const requestSchema = operation["requestBody"]?.content?.["application/json"]?.schema;
    if (body !== undefined) this.#validate(`${name} request`, requestSchema, body);
    if (status >= 400)
      return this.#validate(`${name} ${status}`, { $ref: "#/components/schemas/ErrorResponse" }, answer);
    const response = operation["responses"][String(status)];
    if (!response) return this.#report(`${name} answers ${status}, which is not in the document`);
    const schema = response.content?.["application/json"]?.schema;
    if (answer !== undefined) this.#validate(`${name} ${status}`, schema ?? {}, answer);
  }

  /** Exceptions that no exchange needed: they should go. */
  unused(): string[] {
    return accepted.filter(([pattern]) => !this.#usedExceptions.has(pattern)).map(([pattern]) => pattern.source);
  }

  #validate(what: string, schema: Schema | undefined, value: unknown): void {
    if (!schema) return this.#report(`${what} should have no body`);
    let validate = this.#compiled.get(schema);
    if (!validate) {
      validate = this.#ajv.compile(
        JSON.parse(JSON.stringify(closed(schema)).replaceAll('"#/components', '"fly#/components')) as object,
      );
      this.#compiled.set(schema, validate);
    }
    if (validate(value)) return;
    for (const { instancePath, keyword, params, message } of validate.errors ?? []) {
      const problem =
        keyword === "additionalProperties"
          ? `${instancePath}/${params["additionalProperty"]} is not in the document`
          : `${instancePath} ${message}`;
      this.#report(`${what} ${problem}`);
    }
  }

  #report(problem: string): void {
    const exception = accepted.find(([pattern]) => pattern.test(problem));
    if (exception) this.#usedExceptions.add(exception[0]);
    else if (!this.problems.includes(problem)) this.problems.push(problem);
  }
}

/** The schema with `additionalProperties: false` wherever it names properties and says nothing else. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const copy: Schema = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return copy["type"] === "object" && copy["properties"] && !("additionalProperties" in copy)
    ? { ...copy, additionalProperties: false }
    : copy;
}

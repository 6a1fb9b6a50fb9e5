import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Ajv, type ValidateFunction } from "ajv";

const specs = resolve(import.meta.dirname, "../../../../shared/specs");
const documentFile = resolve(specs, "supabase-management.openapi.json");
export const recordingFile = resolve(specs, "captured/supabase-cli3.1.0.jsonl");

/** Why the tests against the API document cannot run; undefined when they can. */
export const missing = [documentFile, recordingFile].every((file) => existsSync(file))
  ? undefined
  : `the API documents are not in ${specs}: the Supabase emulator is NOT checked against them`;
if (missing) console.warn(missing);

/** Where the wire is known to differ from the document (of 2026-06): operation and status, since when, and why. */
const deviations: Readonly<Record<string, string>> = {
  "POST /v1/projects/{ref}/database/query": "2026-11-22: a beta operation that this document leaves out",
  "GET /v1/projects/{ref}/functions/{function_slug} 404":
    "2026-11-22: documented for other operations only; the CLI expects it",
  "DELETE /v1/projects/{ref}/functions/{function_slug} 404": "2026-11-22: as above",
};

interface Operation {
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema: { type: string } }[];
  readonly requestBody?: { content: Record<string, { schema: object }> };
  readonly responses: Record<string, { content?: Record<string, { schema: object }> }>;
}

/** Checks requests and answers against the document of the Management API. */
export class ApiDocument {
  readonly #paths: Record<string, Record<string, Operation>>;
  readonly #ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  readonly #validators = new Map<object, ValidateFunction>();
  /** Operations with their statuses, in the order they were seen. */
  readonly seen: string[] = [];

  constructor() {
    const document = JSON.parse(readFileSync(documentFile, "utf8"));
    this.#paths = document.paths;
    this.#ajv.addSchema({ $id: "document", components: document.components });
  }

  /** Problems of one exchange; known deviations are none. */
  async check(request: Request, response: Response): Promise<readonly string[]> {
    const { pathname, searchParams } = new URL(request.url);
    const path = pathname.slice(pathname.indexOf("/v1/"));
    const template = Object.keys(this.#paths).find((candidate) => matches(candidate, path));
    const name = `${request.method} ${template ?? path.replace(/[a-z]{20}/, "{ref}")}`;
    this.seen.push(`${name} ${response.status}`);
    if (name in deviations || `${name} ${response.status}` in deviations) return [];
    const operation = template && this.#paths[template]![request.method.toLowerCase()];
    if (!operation) return [`${name} is not in the document`];
    const problems = [
      ...this.#query(operation, searchParams),
      ...(await this.#body(operation, request)),
      ...(await this.#answer(operation, response)),
    ];
    return problems.map((problem) => `${name} ${response.status}: ${problem}`);
  }

  #query({ parameters = [] }: Operation, given: URLSearchParams): string[] {
    const known = parameters.filter((parameter) => parameter.in === "query");
    return [...given].flatMap(([name, text]) => {
      const parameter = known.find((candidate) => candidate.name === name);
      if (!parameter) return [`query parameter ${name} is not in the document`];
      return this.#validate(
        parameter.schema,
        parameter.schema.type === "boolean" ? JSON.parse(text) : text,
        `query ${name}`,
      );
    });
  }

  async #body({ requestBody }: Operation, request: Request): Promise<string[]> {
    const type = request.headers.get("content-type")?.split(";")[0];
    if (!requestBody || !type) return requestBody || type ? [`body of type ${type}`] : [];
    const schema = requestBody.content[type]?.schema;
    if (!schema) return [`body of type ${type}`];
    if (type === "application/json") return this.#validate(schema, await request.json(), "body");
    const form = await request.formData();
    const metadata = form.get("metadata");
    const text = metadata instanceof File ? await metadata.text() : (metadata ?? "null");
    return this.#validate(schema, { file: form.getAll("file").map(() => ""), metadata: JSON.parse(text) }, "body");
  }

  async #answer({ responses }: Operation, response: Response): Promise<string[]> {
    const documented = responses[response.status];
    if (!documented) return ["status is not in the document"];
    const schema = documented.content?.["application/json"]?.schema;
    return schema ? this.#validate(schema, await response.json(), "answer") : [];
  }

  #validate(schema: object, value: unknown, what: string): string[] {
    let validate = this.#validators.get(schema);
    if (!validate) this.#validators.set(schema, (validate = this.#ajv.compile(absolute(schema) as object)));
    return validate(value)
      ? []
      : (validate.errors ?? []).map(({ instancePath, message }) => `${what}${instancePath} ${message}`);
  }
}

function matches(template: string, path: string): boolean {
  return (
    new RegExp(`^${template.replace(/\{[^}]+\}/g, "[^/]+")}$`).test(path) &&
    (template.includes("functions/deploy") || !path.endsWith("functions/deploy"))
  );
}

/** References become absolute, so that a part of the document can be compiled by itself. */
function absolute(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"document#/components'));
}

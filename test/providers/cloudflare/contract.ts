import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv, type ValidateFunction } from "ajv";
import { root } from "./local.ts";

export const specs = join(root, "../shared/specs");
const file = join(specs, "cloudflare-workers.sdk-contract-7.3.0.json");

/** Whether the API documents are there; they are not part of the project. */
export const hasSpecs = existsSync(file);
if (!hasSpecs)
  console.warn(`Cloudflare's contract is not at ${file}: requests and responses are NOT checked against it`);

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly params?: object;
  readonly result?: object;
}

/** Checks what goes over the wire against Cloudflare's own contract, as the official SDK 7.3.0 declares it. */
export interface Contract {
  /** Faults of one exchange, `<operation> <request|result> <path> <what>`; undefined when the contract has no such operation. */
  faults(
    method: string,
    path: string,
    body: unknown,
    envelope: { readonly result: unknown },
  ): readonly string[] | undefined;
}

export function loadContract(): Contract {
  const { operations, definitions } = JSON.parse(readFileSync(file, "utf8")) as {
    operations: readonly Operation[];
    definitions: object;
  };
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema({ $id: "contract", definitions });
  const compile = (schema: object | undefined): ValidateFunction | undefined =>
    schema &&
    ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/definitions/', '"contract#/definitions/')) as object);
  const known = operations.map((operation) => ({
    ...operation,
    expression: new RegExp(`^${operation.path.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`),
    checkParams: compile(operation.params),
    checkResult: compile(operation.result),
  }));

  return {
    faults(method, path, body, envelope) {
      const { result } = envelope;
      const url = new URL(path, "http://localhost");
      const operation = known.find(
        (candidate) => candidate.method === method && candidate.expression.test(url.pathname),
      );
      if (!operation) return undefined;
      const params = {
        ...operation.expression.exec(url.pathname)!.groups,
        ...query(url),
        ...(body as object | undefined),
      };
      // The SDK hands on the whole envelope where there is no result, as after a deletion.
      const isWhole = result === null && operation.checkResult?.(envelope);
      // A list operation's contract is of one item.
      const isItem = Array.isArray(result) && (operation.result as { type?: string } | undefined)?.type !== "array";
      return [
        ...(body === undefined ? [] : describe(operation, "request", operation.checkParams, params)),
        ...(isWhole ? [] : isItem ? result : [result]).flatMap((item) =>
          describe(operation, "result", operation.checkResult, item),
        ),
      ];
    },
  };
}

function query(url: URL): Record<string, unknown> {
  return Object.fromEntries([...url.searchParams].map(([name, value]) => [name, value === "true" ? true : value]));
}

function describe({ id }: Operation, part: string, check: ValidateFunction | undefined, value: unknown): string[] {
  if (!check || check(value)) return [];
  // Only the first step of an `anyOf` fault says something; the branches that do not fit are noise.
  const errors = check.errors!.filter(({ schemaPath }) => !schemaPath.includes("/anyOf/"));
  return errors.map(({ instancePath, message }) => `${id} ${part} ${instancePath || "/"} ${message}`);
}

import type * as z from "zod";
import { ApiError } from "./errors.ts";

/** The JSON body of a request; throws an {@link ApiError} where it is not what the API takes. */
export async function readJson<Schema extends z.ZodType>(request: Request, schema: Schema): Promise<z.output<Schema>> {
  const value: unknown = await request.json().catch(() => {
    throw new ApiError(400, "the body is not JSON");
  });
  return check(schema, value);
}

/** A value that fits the schema; throws an {@link ApiError} for another. */
export function check<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  // The issues name paths and rules; a value may be a secret.
  if (!parsed.success)
    throw new ApiError(
      400,
      parsed.error.issues.map((issue) => `${issue.path.join(".") || "value"}: ${issue.message}`).join("; "),
    );
  return parsed.data;
}

import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { defineResource, ResourceError, type ResourceContext } from "../../../../providers/plugin/resource.ts";

interface Inputs {
  readonly name: string;
  readonly size: number;
  readonly mode: "good" | "partial" | "refused" | "bug";
  readonly token?: string;
  readonly variables: Readonly<Record<string, string>>;
}

interface Outputs {
  readonly url: string;
  readonly checksum: string;
}

/** A thing is a JSON file in the folder that the provider's config names. */
export const thing = defineResource<Inputs, Outputs>({
  token: "sample:index/thing:Thing",
  description: "A file that stands for something in a cloud.",
  inputs: z.strictObject({
    name: z.string().regex(/^[a-z]+$/, "must be lower-case letters"),
    size: z.int().default(1),
    mode: z.enum(["good", "partial", "refused", "bug"]).default("good"),
    token: z.exactOptional(z.string().min(8)),
    variables: z.record(z.string(), z.string()).default({}),
  }),
  secrets: ["token", "checksum"],
  replaceOn: ["name"],
  deleteBeforeReplace: true,
  preview: (inputs) => ({ url: urlOf(inputs) }),
  create: async (inputs, context) => ({ id: inputs.name, outputs: put("create", inputs, context) }),
  update: async (_id, inputs, _stored, context) => ({ outputs: put("update", inputs, context) }),
  async read(id, stored, context) {
    const file = fileOf(id, context);
    if (!existsSync(file)) return undefined;
    context.log("warning", `read ${id}${stored ? "" : " for an import"}`);
    const inputs = JSON.parse(readFileSync(file, "utf8")) as Inputs;
    return { id, inputs, outputs: outputsOf(inputs) };
  },
  async delete(id, _stored, context) {
    record(`delete ${id}`, context);
    rmSync(fileOf(id, context), { force: true });
  },
});

function put(operation: string, inputs: Inputs, context: ResourceContext): Outputs {
  record(`${operation} ${inputs.name}`, context);
  if (inputs.mode === "refused") throw new ResourceError("the quota is used up: raise it and run again");
  if (inputs.mode === "bug") throw new TypeError("x is not a function");
  writeFileSync(fileOf(inputs.name, context), JSON.stringify(inputs));
  if (inputs.mode === "partial")
    throw new ResourceError("it was made but does not answer", { id: inputs.name, outputs: outputsOf(inputs) });
  return outputsOf(inputs);
}

/** One line for each call that changes something, in their order. */
function record(line: string, context: ResourceContext): void {
  appendFileSync(join(context.config["folder"] as string, "operations"), `${line}\n`);
}

function urlOf(inputs: Inputs): string {
  return `https://${inputs.name}.example`;
}

function outputsOf(inputs: Inputs): Outputs {
  return { url: urlOf(inputs), checksum: `${inputs.token}-${inputs.size}` };
}

function fileOf(id: string, context: ResourceContext): string {
  return join(context.config["folder"] as string, `${id}.json`);
}

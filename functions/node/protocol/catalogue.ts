import { toJSONSchema } from "zod/v4/core";
import type { FunctionDefinition, Prompt, Resource, Tool } from "../define.ts";
import { type MirroredArgument, mirroredArguments, withMirrored } from "./param-headers.ts";
import type { Fields } from "./rpc.ts";
import { isTemplate, type UriTemplate, uriTemplate } from "./uri-template.ts";
import type { ListMethodName } from "./methods.ts";

/** A thing and the function it belongs to, whose state its handler gets. */
interface Owned<T> {
  readonly functionName: string;
  readonly definition: T;
}

/** Everything a node's own functions serve, compiled once. */
export interface Catalogue {
  readonly functions: readonly string[];
  /** Entries as lists give them, in order of definition. */
  readonly lists: Readonly<Record<ListMethodName, readonly Fields[]>>;
  tool(name: string): (Owned<Tool> & { readonly mirrored: readonly MirroredArgument[] }) | undefined;
  prompt(name: string): Owned<Prompt> | undefined;
  /** The resource or template that a list gives with this very text. */
  listedResource(uri: string): Owned<Resource> | undefined;
  /** The resource with this URI, or the first template that fits. */
  resource(uri: string): (Owned<Resource> & { readonly variables: Readonly<Record<string, string>> }) | undefined;
}

const namePattern = /^[A-Za-z0-9_-]{1,64}$/;

/** Compiles a function set. Throws when two functions claim one name, or a name or schema cannot be served. */
export function catalogue(functions: readonly FunctionDefinition[]): Catalogue {
  const names = functions.map(({ name }) => name);
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined) throw new Error(`the function ${twice} is in the function set twice`);

  const tools = collect(functions, "tool", ({ tools }) => tools);
  const prompts = collect(functions, "prompt", ({ prompts }) => prompts);
  const resources = collect(functions, "resource", ({ resources }) => resources);
  for (const [name, { functionName }] of [...tools, ...prompts]) {
    if (!namePattern.test(name))
      throw new Error(
        `function ${functionName}: the name ${JSON.stringify(name)} must be 1 to 64 characters of A-Z a-z 0-9 _ -`,
      );
  }
  const templates: [UriTemplate, Owned<Resource>][] = [...resources]
    .filter(([uri]) => isTemplate(uri))
    .map(([uri, owned]) => [uriTemplate(uri), owned]);

  const toolEntries = new Map([...tools].map(([name, owned]) => [name, toolEntry(name, owned)]));
  const mirrored = new Map([...toolEntries].map(([name, entry]) => [name, mirroredOf(name, entry)]));

  return {
    functions: names,
    lists: {
      "tools/list": [...toolEntries.values()],
      "prompts/list": [...prompts].map(([name, owned]) => promptEntry(name, owned.definition)),
      "resources/list": [...resources]
        .filter(([uri]) => !isTemplate(uri))
        .map(([uri, owned]) => resourceEntry("uri", uri, owned.definition)),
      "resources/templates/list": [...resources]
        .filter(([uri]) => isTemplate(uri))
        .map(([uri, owned]) => resourceEntry("uriTemplate", uri, owned.definition)),
    },
    tool(name) {
      const owned = tools.get(name);
      return owned && { ...owned, mirrored: mirrored.get(name) ?? [] };
    },
    prompt: (name) => prompts.get(name),
    listedResource: (uri) => resources.get(uri),
    resource(uri) {
      const exact = isTemplate(uri) ? undefined : resources.get(uri);
      if (exact) return { ...exact, variables: {} };
      for (const [template, owned] of templates) {
        const variables = template.match(uri);
        if (variables) return { ...owned, variables };
      }
      return undefined;
    },
  };
}

function collect<T>(
  functions: readonly FunctionDefinition[],
  what: string,
  pick: (definition: FunctionDefinition) => Readonly<Record<string, T>> | undefined,
): ReadonlyMap<string, Owned<T>> {
  const all = new Map<string, Owned<T>>();
  for (const definition of functions) {
    for (const [name, entry] of Object.entries(pick(definition) ?? {})) {
      const other = all.get(name);
      if (other)
        throw new Error(
          `the functions ${other.functionName} and ${definition.name} both have a ${what} ${name}; rename one, or put them on different nodes`,
        );
      all.set(name, { functionName: definition.name, definition: entry });
    }
  }
  return all;
}

function toolEntry(name: string, { functionName, definition }: Owned<Tool>): Fields {
  const { title, description, input, inputSchema, headers, output, annotations, icons } = definition;
  const schema = inputSchema ?? objectSchema(input, "input");
  return {
    name,
    ...(title !== undefined && { title }),
    description,
    inputSchema: headers ? withMirrored(schema, headers) : schema,
    ...(output && { outputSchema: objectSchema(output, "output") }),
    ...(annotations && { annotations }),
    ...(icons && { icons }),
  };

  function objectSchema(schema: Tool["input"], io: "input" | "output"): Fields {
    const json = toJSONSchema(schema, { target: "draft-2020-12", io }) as Fields;
    if (json["type"] !== "object")
      throw new Error(`function ${functionName}: the ${io} schema of the tool ${name} must be an object schema`);
    return json;
  }
}

function mirroredOf(name: string, { inputSchema }: Fields): readonly MirroredArgument[] {
  const found = mirroredArguments(inputSchema);
  if (!found)
    throw new Error(
      `the tool ${name}: a header of an argument must be an HTTP token, used once, for a string, number or boolean`,
    );
  return found;
}

function promptEntry(name: string, { title, description, arguments: declared, icons }: Prompt): Fields {
  return {
    name,
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    ...(declared && {
      arguments: Object.entries(declared).map(([argument, { description, required }]) => ({
        name: argument,
        ...(description !== undefined && { description }),
        ...(required !== undefined && { required }),
      })),
    }),
    ...(icons && { icons }),
  };
}

function resourceEntry(
  field: "uri" | "uriTemplate",
  uri: string,
  { name, title, description, mimeType, annotations, icons }: Resource,
): Fields {
  return {
    [field]: uri,
    name,
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    ...(mimeType !== undefined && { mimeType }),
    ...(annotations && { annotations }),
    ...(icons && { icons }),
  };
}

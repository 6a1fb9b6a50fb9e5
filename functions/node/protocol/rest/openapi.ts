import { BoundedMap } from "../../state/bounded-map.ts";
import { serverInfo } from "../envelope.ts";
import { etagOf, isKnown } from "../etag.ts";
import type { ProtocolContext } from "../protocol.ts";
import { type Fields, isFields } from "../rpc.ts";

/** Documents by the digest of the list that they were made from. */
const made = new BoundedMap<string, string>(16);

/** An OpenAPI 3.1 document of the tools that the caller may call here. */
export async function openApi(request: Request, { answer, node, url }: ProtocolContext): Promise<Response> {
  const { tools } = await answer("tools/list", {});
  const etag = await etagOf(JSON.stringify([node, url, tools]));
  const headers = { etag, "cache-control": "private, no-cache", vary: "authorization" };
  if (isKnown(request, etag)) return new Response(null, { status: 304, headers });
  let text = made.get(etag);
  if (text === undefined) {
    text = JSON.stringify(openApiDocument(node, url, (tools as unknown[]).filter(isFields)));
    made.set(etag, text);
  }
  return new Response(text, { headers: { ...headers, "content-type": "application/json" } });
}

/** Pure: the document for a list of tools as MCP gives it. */
export function openApiDocument(node: string, url: string, tools: readonly Fields[]): Fields {
  const components: Record<string, unknown> = {};
  const paths = tools.map((tool) => [
    `/api/tools/${encodeURIComponent(String(tool["name"]))}`,
    { post: operation(tool, components) },
  ]);
  return {
    openapi: "3.1.0",
    info: {
      title: node,
      version: serverInfo.version,
      description: `Tools of ${node} and of the peers that it may ask for you.`,
    },
    servers: [{ url }],
    security: [{ bearer: [] }],
    paths: Object.fromEntries(paths) as Fields,
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
      schemas: {
        ...components,
        Content: {
          type: "array",
          items: { type: "object", required: ["type"], properties: { type: { type: "string" } } },
        },
        Problem: {
          type: "object",
          required: ["type", "title", "status", "detail", "callId"],
          properties: {
            type: { type: "string" },
            title: { type: "string" },
            status: { type: "integer" },
            detail: { type: "string" },
            callId: { type: "string", description: "Finds the call in every node's audit." },
          },
        },
      },
      responses: {
        Problem: {
          description: "RFC 9457. 404 unknown or not allowed, 409 the tool asks back, 422 the tool reports an error.",
          content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
        },
      },
    },
  };
}

function operation(tool: Fields, components: Record<string, unknown>): Fields {
  const name = String(tool["name"]);
  const { title, description, outputSchema } = tool;
  return {
    operationId: name,
    ...(typeof title === "string" && { summary: title }),
    ...(typeof description === "string" && { description }),
    requestBody: { content: json(embedded(tool["inputSchema"], `${name}.input`, components)) },
    responses: {
      200: {
        description: "The tool's result.",
        content: json({
          type: "object",
          required: ["content", ...(outputSchema ? ["structuredContent"] : [])],
          properties: {
            content: { $ref: "#/components/schemas/Content" },
            ...(isFields(outputSchema) && { structuredContent: embedded(outputSchema, `${name}.output`, components) }),
          },
        }),
      },
      default: { $ref: "#/components/responses/Problem" },
    },
  };
}

/**
 * A schema's `#/...` references count from the root of the document around it. So a schema that has some becomes a component of this
 * document, with its references moved along. (An `$id` of its own would do by JSON Schema, and few OpenAPI tools would see it.)
 */
function embedded(schema: unknown, name: string, components: Record<string, unknown>): unknown {
  if (!isFields(schema) || schema["$id"] !== undefined || !JSON.stringify(schema).includes('"$ref":"#')) return schema;
  const $ref = `#/components/schemas/${name}`;
  components[name] = moved(schema, $ref);
  return { $ref };
}

/** Keywords whose value maps free names to schemas. */
const maps = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]);
/** Keywords whose value is data. */
const literals = new Set(["const", "enum", "default", "example", "examples"]);

function moved(value: unknown, base: string, names = false): unknown {
  if (Array.isArray(value)) return value.map((part) => moved(part, base));
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => {
      if (key === "$ref" && typeof part === "string" && /^#(\/|$)/.test(part)) return [key, base + part.slice(1)];
      return [key, !names && literals.has(key) ? part : moved(part, base, !names && maps.has(key))];
    }),
  );
}

function json(schema: unknown): Fields {
  return { "application/json": { schema } };
}

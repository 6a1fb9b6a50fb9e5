import * as z from "zod";
import type { ResourceType } from "./resource.ts";

interface PropertySpec {
  readonly [keyword: string]: unknown;
}

interface ObjectSpec {
  readonly type: "object";
  readonly description?: string;
  readonly properties: Readonly<Record<string, PropertySpec>>;
  readonly required: readonly string[];
}

type JsonSchema = z.core.JSONSchema.JSONSchema;

/**
 * The package schema of a provider, made from what its types check: `pulumi import` writes a program from it, and
 * `pulumi package` an SDK. Outputs that are not inputs appear only where a type names them as secrets.
 * @see https://www.pulumi.com/docs/iac/guides/building-extending/packages/schema/
 */
export function packageSchema(provider: { name: string; version: string; types: readonly ResourceType[] }): object {
  const types: Record<string, ObjectSpec> = {};
  const resources = Object.fromEntries(provider.types.map((type) => [type.token, resourceSpec(type)]));
  return { name: provider.name, version: provider.version, config: {}, provider: {}, resources, types };

  function resourceSpec(type: ResourceType): object {
    const json = z.toJSONSchema(type.inputs, { io: "input", unrepresentable: "any", reused: "inline" }) as JsonSchema;
    const inputs = objectSpec(json, type.token);
    const mark = ([name, spec]: [string, PropertySpec]): [string, PropertySpec] => [
      name,
      {
        ...spec,
        ...(type.secrets.includes(name) && { secret: true }),
        ...(type.replaceOn.includes(name) && { willReplaceOnChanges: true }),
      },
    ];
    const inputProperties = Object.fromEntries(Object.entries(inputs.properties).map(mark));
    const secretOutputs = type.secrets.map(String).filter((name) => !(name in inputProperties));
    return {
      description: type.description,
      inputProperties,
      requiredInputs: inputs.required,
      properties: {
        ...inputProperties,
        ...Object.fromEntries(secretOutputs.map((name) => [name, { ...anything, secret: true }])),
      },
      required: inputs.required,
    };
  }

  function objectSpec(json: JsonSchema, token: string): ObjectSpec {
    const properties = Object.entries(json.properties ?? {});
    return {
      type: "object",
      ...(json.description && { description: json.description }),
      properties: Object.fromEntries(
        properties.map(([name, value]) => [name, propertySpec(value, `${token}${capitalize(name)}`)]),
      ),
      required: json.required ?? [],
    };
  }

  /** `token` names the object type that the property may need. */
  function propertySpec(json: z.core.JSONSchema._JSONSchema, token: string): PropertySpec {
    if (typeof json === "boolean") return anything;
    const text = json.description ? { description: json.description } : {};
    const literal = json.default !== undefined && typeof json.default !== "object" ? { default: json.default } : {};
    return { ...typeSpec(json, token), ...text, ...literal };
  }

  function typeSpec(json: JsonSchema, token: string): PropertySpec {
    const options = (json.anyOf ?? json.oneOf)?.filter(
      (option) => typeof option === "boolean" || option.type !== "null",
    );
    if (options) {
      const specs = options.map((option, index) =>
        propertySpec(option, options.length === 1 ? token : `${token}${index}`),
      );
      const distinct = [...new Map(specs.map((spec) => [JSON.stringify(spec), spec])).values()];
      return distinct.length === 1 ? distinct[0]! : { oneOf: distinct };
    }
    switch (json.type) {
      case "string":
      case "number":
      case "integer":
      case "boolean":
        return { type: json.type };
      case "array":
        return { type: "array", items: single(json.items, token) };
      case "object": {
        if (!json.properties) return { type: "object", additionalProperties: single(json.additionalProperties, token) };
        types[token] = objectSpec(json, token);
        return { $ref: `#/types/${token}` };
      }
      default:
        return json.const === undefined && !json.enum ? anything : { type: typeof (json.const ?? json.enum?.[0]) };
    }
  }

  function single(json: JsonSchema["items"], token: string): PropertySpec {
    return json === undefined || Array.isArray(json) ? anything : propertySpec(json, token);
  }
}

const anything: PropertySpec = { $ref: "pulumi.json#/Any" };

function capitalize(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

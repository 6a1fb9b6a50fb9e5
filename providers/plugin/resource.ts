import type * as z from "zod";

/** What the engine keeps of a resource. */
export interface Stored<Inputs, Outputs> {
  readonly id: string;
  readonly inputs: Inputs;
  readonly outputs: Outputs;
}

/** What a method may use beside its arguments. */
export interface ResourceContext {
  /** Shows a line in the engine's log for this resource. */
  log(severity: "info" | "warning" | "error", message: string): void;
  /** Aborted when the engine cancels, or when the resource's `customTimeouts` have passed. */
  readonly signal: AbortSignal;
  /** What the program gave the provider instance (`new cloudflare.Provider(..., { baseUrl, apiToken })`), secrets opened. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * A Pulumi resource type that the plugin serves.
 *
 * `create` and `update` share one flow: observe what is there, make what is missing, bring the rest in line, answer what was observed.
 * Every method may run again after a crash and must then end at the same place. What a method answers as outputs is what the stack stores:
 * the inputs are merged in by the server.
 */
export interface ResourceType<Inputs extends object = any, Outputs extends object = any> {
  /** `package:module:Name`, for example `federation:index:FlyApp`. */
  readonly token: string;
  readonly description: string;
  /** Checks known inputs and fills defaults; runs only when no input is unknown. */
  readonly inputs: z.ZodType<Inputs>;
  /** Inputs and outputs that the engine must keep encrypted, whatever the program said. */
  readonly secrets: readonly (keyof Inputs | keyof Outputs)[];
  /** Inputs whose change needs a new resource. */
  readonly replaceOn: readonly (keyof Inputs)[];
  /** Delete the old one before its replacement is made (names that are unique). */
  readonly deleteBeforeReplace?: boolean;
  /** Outputs that are known before the resource exists; the rest shows as unknown in a preview. */
  preview?(inputs: Inputs, old: Outputs | undefined): Partial<Outputs>;
  create(inputs: Inputs, context: ResourceContext): Promise<{ id: string; outputs: Outputs }>;
  /**
   * What is there now; undefined = it is gone. `stored` is absent during an import.
   * Answer `inputs` as observed, so that drift shows in a refresh.
   */
  read(
    id: string,
    stored: Stored<Inputs, Outputs> | undefined,
    context: ResourceContext,
  ): Promise<Stored<Inputs, Outputs> | undefined>;
  update(
    id: string,
    inputs: Inputs,
    stored: Stored<Inputs, Outputs>,
    context: ResourceContext,
  ): Promise<{ outputs: Outputs }>;
  /** Already gone is success. */
  delete(id: string, stored: Stored<Inputs, Outputs>, context: ResourceContext): Promise<void>;
}

/** Infers the types of a resource from its parts. */
export function defineResource<Inputs extends object, Outputs extends object>(
  type: ResourceType<Inputs, Outputs>,
): ResourceType {
  return type as unknown as ResourceType;
}

/**
 * A fault the user can mend: shown without a stack. Anything else that a method throws is a bug and keeps its stack.
 * `partial` says that the resource was made but is not in order: the engine keeps it and the next `up` goes on from there.
 */
export class ResourceError extends Error {
  override readonly name = "ResourceError";
  readonly partial?: { readonly id: string; readonly outputs: object };
  constructor(message: string, partial?: { id: string; outputs: object }) {
    super(message);
    if (partial) this.partial = partial;
  }
}

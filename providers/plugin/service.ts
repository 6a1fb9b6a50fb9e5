import type { UntypedServiceImplementation, handleUnaryCall } from "@grpc/grpc-js";
import plugin from "@pulumi/pulumi/proto/plugin_pb.js";
import type { PluginAttach } from "@pulumi/pulumi/proto/plugin_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as Proto from "@pulumi/pulumi/proto/provider_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { check } from "./check.ts";
import { diff, type Change } from "./diff.ts";
import { engineLog, type EngineLog } from "./engine.ts";
import { grpcError, PartialFailure } from "./errors.ts";
import { ResourceError, type ResourceContext, type ResourceType, type Stored } from "./resource.ts";
import { packageSchema } from "./schema.ts";
import type { ProviderPackage } from "./package.ts";
import { guardUnknowns, openAll, sealAll, UnknownRead, type Properties } from "./values.ts";

/** The methods of `pulumirpc.ResourceProvider` that this plugin has; gRPC answers "unimplemented" for the rest. */
export function createService(provider: ProviderPackage): UntypedServiceImplementation {
  const types = new Map(provider.types.map((type) => [type.token, type]));
  const cancel = new AbortController();
  let log: EngineLog | undefined;
  let config: Properties = {};

  return {
    handshake: unary(async (request: Proto.ProviderHandshakeRequest) => {
      log = engineLog(request.getEngineAddress());
      const response = new messages.ProviderHandshakeResponse();
      response.setAcceptSecrets(true);
      response.setAcceptResources(true);
      return response.setAcceptOutputs(true);
    }),

    attach: unary(async (request: PluginAttach) => {
      log = engineLog(request.getAddress());
      return new empty.Empty();
    }),

    getPluginInfo: unary(async () => new plugin.PluginInfo().setVersion(provider.version)),

    getSchema: unary(async () => new messages.GetSchemaResponse().setSchema(JSON.stringify(packageSchema(provider)))),

    checkConfig: unary(async (request: Proto.CheckRequest) =>
      new messages.CheckResponse().setInputs(request.getNews()),
    ),

    diffConfig: unary(async (request: Proto.DiffRequest) =>
      diffResponse(diff(opened(request.getOldInputs()), opened(request.getNews())), []),
    ),

    configure: unary(async (request: Proto.ConfigureRequest) => {
      config = opened(request.getArgs());
      const response = new messages.ConfigureResponse();
      response.setSupportspreview(true);
      response.setAcceptsecrets(true);
      response.setAcceptresources(true);
      return response.setAcceptoutputs(true);
    }),

    check: unary(async (request: Proto.CheckRequest) => {
      const type = typeOf(request);
      const news = wire(request.getNews());
      const { inputs, failures } = check(type, news);
      const response = new messages.CheckResponse().setInputs(toStruct(sealAll(inputs, type.secrets, news)));
      // The engine prints the value of a property that a failure names, whatever it is, so the path is part of the reason.
      for (const failure of failures) response.addFailures(new messages.CheckFailure().setReason(failure));
      return response;
    }),

    diff: unary(async (request: Proto.DiffRequest) => {
      const type = typeOf(request);
      const changes = diff(opened(request.getOldInputs()), opened(request.getNews()));
      return diffResponse(changes, type.replaceOn.map(String), type.deleteBeforeReplace);
    }),

    create: unary(async (request: Proto.CreateRequest) => {
      const type = typeOf(request);
      const given = wire(request.getProperties());
      const inputs = openAll(given);
      if (request.getPreview()) {
        return new messages.CreateResponse().setProperties(
          stateOf(type, inputs, previewOf(type, inputs, undefined), given),
        );
      }
      const { id, outputs } = await run(type, request, given, (context) => type.create(inputs, context));
      return new messages.CreateResponse().setId(id).setProperties(stateOf(type, inputs, outputs, given));
    }),

    read: unary(async (request: Proto.ReadRequest) => {
      const type = typeOf(request);
      const givenInputs = wire(request.getInputs());
      const given = { ...givenInputs, ...wire(request.getProperties()) };
      const stored =
        Object.keys(given).length === 0
          ? undefined
          : storedOf(request.getId(), request.getInputs(), request.getProperties());
      const now = await run(type, request, given, (context) => type.read(request.getId(), stored, context));
      const response = new messages.ReadResponse();
      // No id says that the resource is gone.
      if (!now) return response;
      response.setId(now.id);
      response.setInputs(toStruct(sealAll(now.inputs, type.secrets, givenInputs)));
      return response.setProperties(stateOf(type, now.inputs, now.outputs, given));
    }),

    update: unary(async (request: Proto.UpdateRequest) => {
      const type = typeOf(request);
      const given = wire(request.getNews());
      const inputs = openAll(given);
      const stored = storedOf(request.getId(), request.getOldInputs(), request.getOlds());
      if (request.getPreview()) {
        return new messages.UpdateResponse().setProperties(
          stateOf(type, inputs, previewOf(type, inputs, stored.outputs), given),
        );
      }
      const { outputs } = await run(type, request, given, (context) =>
        type.update(request.getId(), inputs, stored, context),
      );
      return new messages.UpdateResponse().setProperties(stateOf(type, inputs, outputs, given));
    }),

    delete: unary(async (request: Proto.DeleteRequest) => {
      const type = typeOf(request);
      const stored = storedOf(request.getId(), request.getOldInputs(), request.getProperties());
      await run(type, request, {}, (context) => type.delete(request.getId(), stored, context));
      return new empty.Empty();
    }),

    cancel: unary(async () => {
      cancel.abort(new ResourceError("cancelled"));
      return new empty.Empty();
    }),
  };

  function typeOf(request: { getType(): string }): ResourceType {
    const type = types.get(request.getType());
    if (type) return type;
    throw new ResourceError(
      `the provider plugin "${provider.name}" has no resource type ${request.getType()}; it serves ${[...types.keys()].join(", ")}`,
    );
  }

  /** Runs a method of a type; the lines it logs arrive before its answer. */
  async function run<T>(
    type: ResourceType,
    request: { getUrn(): string; getTimeout(): number },
    given: Properties,
    method: (context: ResourceContext) => Promise<T>,
  ): Promise<T> {
    const lines: Promise<void>[] = [];
    const signals = [cancel.signal];
    if (request.getTimeout() > 0) signals.push(AbortSignal.timeout(request.getTimeout() * 1000));
    try {
      return await method({
        config,
        signal: AbortSignal.any(signals),
        log: (severity, message) => {
          if (!log) throw new Error("the engine called a resource before the handshake");
          // A line that the engine does not take still shows: it prints what a plugin writes to stderr.
          lines.push(log(request.getUrn(), severity, message).catch(() => console.error(message)));
        },
      });
    } catch (thrown) {
      if (!(thrown instanceof ResourceError) || !thrown.partial) throw thrown;
      const outputs = { ...openAll(given), ...thrown.partial.outputs };
      throw new PartialFailure(thrown.message, thrown.partial.id, toStruct(sealAll(outputs, type.secrets, given)));
    } finally {
      await Promise.all(lines);
    }
  }
}

function unary<Request, Response>(work: (request: Request) => Promise<Response>): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    work(call.request).then(
      (response) => callback(null, response),
      (thrown: unknown) => callback(grpcError(thrown)),
    );
  };
}

type Struct = InstanceType<typeof struct.Struct>;

/** Properties as they came over the wire. */
function wire(properties: Struct | undefined): Properties {
  return properties ? properties.toJavaScript() : {};
}

function opened(properties: Struct | undefined): Properties {
  return openAll(wire(properties));
}

function toStruct(properties: Properties): Struct {
  return struct.Struct.fromJavaScript(properties as Parameters<typeof struct.Struct.fromJavaScript>[0]);
}

function storedOf(id: string, inputs: Struct | undefined, outputs: Struct | undefined): Stored<Properties, Properties> {
  return { id, inputs: opened(inputs), outputs: opened(outputs) };
}

/** What the stack stores: inputs and outputs as one, secrets encrypted. */
function stateOf(type: ResourceType, inputs: Properties, outputs: object, given: Properties): Struct {
  return toStruct(sealAll({ ...inputs, ...outputs }, type.secrets, given));
}

/** Outputs that are known in a preview; none where the type had to look at an input that is not known yet. */
function previewOf(type: ResourceType, inputs: Properties, old: Properties | undefined): object {
  try {
    return type.preview?.(guardUnknowns(inputs), old) ?? {};
  } catch (thrown) {
    if (thrown instanceof UnknownRead) return {};
    throw thrown;
  }
}

function diffResponse(
  changes: readonly Change[],
  replaceOn: readonly string[],
  deleteBeforeReplace = false,
): Proto.DiffResponse {
  const { DiffResponse, PropertyDiff } = messages;
  const replaces = replaceOn.filter((property) => changes.some((change) => change.property === property));
  const response = new DiffResponse();
  response.setChanges(changes.length > 0 ? DiffResponse.DiffChanges.DIFF_SOME : DiffResponse.DiffChanges.DIFF_NONE);
  response.setDiffsList([...new Set(changes.map((change) => change.property))]);
  response.setReplacesList(replaces);
  response.setDeletebeforereplace(deleteBeforeReplace && replaces.length > 0);
  response.setHasdetaileddiff(true);
  const kinds = {
    add: [PropertyDiff.Kind.ADD, PropertyDiff.Kind.ADD_REPLACE],
    delete: [PropertyDiff.Kind.DELETE, PropertyDiff.Kind.DELETE_REPLACE],
    update: [PropertyDiff.Kind.UPDATE, PropertyDiff.Kind.UPDATE_REPLACE],
  } as const;
  for (const { path, property, kind } of changes) {
    const [inPlace, replace] = kinds[kind];
    const entry = new PropertyDiff().setKind(replaces.includes(property) ? replace : inPlace).setInputdiff(true);
    response.getDetaileddiffMap().set(path, entry);
  }
  return response;
}

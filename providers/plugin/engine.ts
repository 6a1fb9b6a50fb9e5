import * as grpc from "@grpc/grpc-js";

export type Severity = "info" | "warning" | "error";

/** Shows a line at the resource with this URN. */
export type EngineLog = (urn: string, severity: Severity, message: string) => Promise<void>;

/**
 * The log of the engine that started this plugin. Connects at the first line: most runs log nothing.
 * @param address `host:port` of the engine
 */
export function engineLog(address: string): EngineLog {
  let connection: Promise<EngineLog> | undefined;
  return async (urn, severity, message) => (await (connection ??= connect(address)))(urn, severity, message);
}

async function connect(address: string): Promise<EngineLog> {
  const [{ default: services }, { default: messages }] = await Promise.all([
    import("@pulumi/pulumi/proto/engine_grpc_pb.js"),
    import("@pulumi/pulumi/proto/engine_pb.js"),
  ]);
  const client = new services.EngineClient(address, grpc.credentials.createInsecure());
  const { INFO: info, WARNING: warning, ERROR: error } = messages.LogSeverity;
  const severities = { info, warning, error };
  return (urn, severity, message) => {
    const request = new messages.LogRequest();
    request.setUrn(urn);
    request.setSeverity(severities[severity]);
    request.setMessage(message);
    return new Promise((resolve, reject) => client.log(request, (failure) => (failure ? reject(failure) : resolve())));
  };
}

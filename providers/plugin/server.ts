import { flushCompileCache } from "node:module";
import * as grpc from "@grpc/grpc-js";
import provider from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import type { ProviderPackage } from "./package.ts";
import { createService } from "./service.ts";

/** The engine's own limit for a message. */
const messageBytes = 400 * 1024 * 1024;

/** Serves a package to the engine that started this process. Answers once the engine was told the port. */
export async function serve(pkg: ProviderPackage): Promise<void> {
  endWithParent();
  // The one line that the engine waits for.
  console.log(await listen(pkg));
  // The engine ends plugins by a signal, and Node writes its compile cache only at a normal end.
  flushCompileCache();
}

/** Starts the gRPC server on a free loopback port, and answers which. */
async function listen(pkg: ProviderPackage): Promise<number> {
  const server = new grpc.Server({
    "grpc.max_receive_message_length": messageBytes,
    "grpc.max_send_message_length": messageBytes,
  });
  server.addService(provider.ResourceProviderService as unknown as grpc.ServiceDefinition, createService(pkg));
  return new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
}

/** An engine that was killed cannot end its plugins. */
function endWithParent(): void {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), 1000).unref();
}

import * as grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statuses from "@pulumi/pulumi/proto/status_pb.js";
import any from "google-protobuf/google/protobuf/any_pb.js";
import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import { ResourceError } from "./resource.ts";

/** A resource was made but is not in order: the engine stores it, fails the run and goes on from there next time. */
export class PartialFailure extends Error {
  override readonly name = "PartialFailure";
  readonly id: string;
  /** Wire form of what the stack shall store. */
  readonly properties: Struct;
  constructor(message: string, id: string, properties: Struct) {
    super(message);
    this.id = id;
    this.properties = properties;
  }
}

/** The gRPC error of what a method threw: a fault the user can mend shows its message alone, anything else its stack. */
export function grpcError(thrown: unknown): grpc.ServiceError {
  if (thrown instanceof PartialFailure) {
    return serviceError(grpc.status.FAILED_PRECONDITION, thrown.message, partialFailureDetails(thrown));
  }
  if (thrown instanceof ResourceError) return serviceError(grpc.status.FAILED_PRECONDITION, thrown.message);
  return serviceError(grpc.status.UNKNOWN, thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
}

function serviceError(code: grpc.status, details: string, metadata = new grpc.Metadata()): grpc.ServiceError {
  return Object.assign(new Error(details), { code, details, metadata });
}

function partialFailureDetails(failure: PartialFailure): grpc.Metadata {
  const failed = new messages.ErrorResourceInitFailed();
  failed.setId(failure.id);
  failed.setProperties(failure.properties);
  failed.setReasonsList([failure.message]);
  const detail = new any.Any();
  detail.pack(failed.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new statuses.Status();
  status.setCode(grpc.status.FAILED_PRECONDITION);
  status.setMessage(failure.message);
  status.addDetails(detail);
  const metadata = new grpc.Metadata();
  // The metadata key under which gRPC carries the details of an error.
  metadata.set("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return metadata;
}

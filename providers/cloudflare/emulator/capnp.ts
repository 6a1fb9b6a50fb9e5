import type { Binding, Namespace, Version } from "./store.ts";

/** Environment variable of the runtime that holds the text of a secret, so that no file of configuration does. */
export function secretVariable(binding: string): string {
  return `SECRET_${binding}`;
}

/** Folder of Durable Object storage, relative to the folder the runtime is started in. */
export const objectsFolder = "objects";

/**
 * The text of a workerd configuration for one version. Module files are embedded from beside the configuration file;
 * the address of the socket `http` is given on the command line. Schema: workerd.capnp of the same version of workerd.
 */
export function workerdConfig(version: Version, namespaces: readonly Namespace[]): string {
  const worker = [
    ...code(version),
    `compatibilityDate = ${text(version.compatibilityDate)}`,
    `compatibilityFlags = ${list(version.compatibilityFlags.map(text))}`,
    `bindings = ${list(version.bindings.map(binding))}`,
    `globalOutbound = "internet"`,
    `durableObjectNamespaces = ${list(namespaces.map(namespace))}`,
    `durableObjectStorage = (localDisk = "objects")`,
  ];
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "worker.js", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "objects", disk = (path = ${text(objectsFolder)}, writable = true)),
  ],
  sockets = [(name = "http", http = (), service = "worker.js")],
);

const worker :Workerd.Worker = (
  ${worker.join(",\n  ")},
);
`;
}

const moduleKinds: Readonly<Record<string, string>> = {
  "application/javascript+module": "esModule",
  "text/javascript+module": "esModule",
  "application/javascript": "commonJsModule",
  "text/javascript": "commonJsModule",
  "application/wasm": "wasm",
  "text/plain": "text",
  "application/octet-stream": "data",
  "application/json": "json",
};

/** Whether workerd runs a module of this content type. */
export function isRunnable(contentType: string): boolean {
  return moduleKind(contentType) !== undefined;
}

function moduleKind(contentType: string): string | undefined {
  return moduleKinds[contentType.split(";")[0]!.trim()];
}

function code(version: Version): string[] {
  if (version.syntax === "service-worker") {
    const script = version.modules.find((module) => module.name === version.main)!;
    return [`serviceWorkerScript = embed ${text(script.file)}`];
  }
  // The first module is the one that runs.
  const modules = version.modules.toSorted((a, b) => Number(b.name === version.main) - Number(a.name === version.main));
  return [
    `modules = ${list(
      modules.flatMap(({ name, contentType, file }) => {
        const kind = moduleKind(contentType);
        return kind ? [`(name = ${text(name)}, ${kind} = embed ${text(file)})`] : [];
      }),
    )}`,
  ];
}

function binding(value: Binding): string {
  const name = `name = ${text(value.name)}`;
  switch (value.type) {
    case "plain_text":
      return `(${name}, text = ${text(String(value["text"]))})`;
    case "json":
      return `(${name}, json = ${text(JSON.stringify(value["json"]))})`;
    case "secret_text":
      return `(${name}, fromEnvironment = ${text(secretVariable(value.name))})`;
    case "durable_object_namespace":
      return `(${name}, durableObjectNamespace = ${text(String(value["class_name"]))})`;
    default:
      throw new Error(`no workerd configuration for a binding of type ${value.type}`);
  }
}

function namespace(value: Namespace): string {
  const sql = value.storage === "sqlite";
  return `(className = ${text(value.className)}, uniqueKey = ${text(value.id)}, enableSql = ${sql})`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "[]" : `[\n    ${items.join(",\n    ")},\n  ]`;
}

/** A Cap'n Proto string literal: bytes outside printable ASCII are escaped one by one. */
export function text(value: string): string {
  let literal = "";
  for (const byte of new TextEncoder().encode(value)) {
    const character = String.fromCharCode(byte);
    if (character === '"' || character === "\\") literal += `\\${character}`;
    else if (byte < 0x20 || byte > 0x7e) literal += `\\x${byte.toString(16).padStart(2, "0")}`;
    else literal += character;
  }
  return `"${literal}"`;
}

import { createHash } from "node:crypto";
import { findApp } from "./find.ts";
import { ApiError } from "./http.ts";
import type { Routes } from "./http.ts";
import type { AppSecrets, SecretRecord, Store } from "./store.ts";

/** Secrets of apps: versioned as a whole; a machine sees a change only when it is made or updated. */
export function secretRoutes(store: Store): Routes {
  return {
    "GET /v1/apps/{app}/secrets": ({ path, query }) => {
      const secrets = store.secrets(findApp(store, path["app"]).name);
      atLeast(secrets, query.get("min_version"));
      return { secrets: list(secrets, query.get("show_secrets") === "true") };
    },
    "POST /v1/apps/{app}/secrets": ({ path, body }) => {
      const { name: app } = findApp(store, path["app"]);
      const values: unknown = body?.values;
      if (typeof values !== "object" || values === null) throw new ApiError(400, "values must be an object");
      for (const [name, value] of Object.entries(values)) checkSecret(name, value, true);
      const secrets = change(store, app, values as Record<string, string | null>);
      return { secrets: list(secrets, false), ...versions(secrets) };
    },
    "GET /v1/apps/{app}/secrets/{secret}": ({ path, query }) => {
      const secrets = store.secrets(findApp(store, path["app"]).name);
      atLeast(secrets, query.get("min_version"));
      return show(path["secret"] ?? "", find(secrets, path["secret"]), query.get("show_secrets") === "true");
    },
    "POST /v1/apps/{app}/secrets/{secret}": ({ path, body }) => {
      const { app, secret = "" } = { app: findApp(store, path["app"]).name, secret: path["secret"] };
      checkSecret(secret, body?.value, false);
      const secrets = change(store, app, { [secret]: body.value as string });
      return Response.json({ ...show(secret, find(secrets, secret), false), ...versions(secrets) }, { status: 201 });
    },
    "DELETE /v1/apps/{app}/secrets/{secret}": ({ path }) => {
      const { name: app } = findApp(store, path["app"]);
      find(store.secrets(app), path["secret"]);
      return versions(change(store, app, { [path["secret"] ?? ""]: null }));
    },
  };
}

/** Hands a machine the values of now; they stay its own until it is updated again. */
export function giveSecrets(store: Store, app: string, machine: string): void {
  const secrets = store.secrets(app);
  secrets.given[machine] = Object.fromEntries(
    Object.entries(secrets.current).map(([name, { value }]) => [name, value]),
  );
  store.saveSecrets(app);
}

export function takeSecrets(store: Store, app: string, machine: string): void {
  delete store.secrets(app).given[machine];
  store.saveSecrets(app);
}

/** Throws 400 when the app's secrets have not reached a version that the caller counts on. */
export function atLeast(secrets: AppSecrets, version: unknown): void {
  if (version === null || version === undefined) return;
  if (!(Number(version) <= secrets.version))
    throw new ApiError(400, `secrets version ${String(version)} was not reached: it is ${secrets.version}`);
}

function change(store: Store, app: string, values: Readonly<Record<string, string | null>>): AppSecrets {
  const secrets = store.secrets(app);
  const now = new Date().toISOString();
  for (const [name, value] of Object.entries(values)) {
    if (value === null) delete secrets.current[name];
    else
      secrets.current[name] = {
        value,
        digest: digest(value),
        created_at: secrets.current[name]?.created_at ?? now,
        updated_at: now,
      };
  }
  secrets.version += 1;
  store.saveSecrets(app);
  return secrets;
}

function checkSecret(name: string, value: unknown, nullable: boolean): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    throw new ApiError(400, `secret name ${JSON.stringify(name)} is not a variable's name`);
  if (typeof value !== "string" && !(nullable && value === null))
    throw new ApiError(400, `the value of secret ${name} must be a string`);
}

function find(secrets: AppSecrets, name = ""): SecretRecord {
  const secret = Object.hasOwn(secrets.current, name) ? secrets.current[name] : undefined;
  if (!secret) throw new ApiError(404, `secret ${name} was not found`);
  return secret;
}

function list(secrets: AppSecrets, values: boolean): object[] {
  return Object.entries(secrets.current).map(([name, secret]) => show(name, secret, values));
}

function show(name: string, { value, ...secret }: SecretRecord, values: boolean): object {
  return { name, ...secret, ...(values && { value }) };
}

/** The wire has both spellings. */
function versions({ version }: AppSecrets): object {
  return { version, Version: version };
}

function digest(value: string): string {
  return createHash("sha256").update(value).digest("hex").slice(0, 16);
}

import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SignJWT } from "jose";
import { projectRefPattern } from "../names.ts";

/** As the Management API tells it. */
export interface FunctionRecord {
  readonly id: string;
  readonly slug: string;
  readonly name: string;
  readonly status: "ACTIVE" | "REMOVED" | "THROTTLED";
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly created_at: number;
  readonly updated_at: number;
  readonly verify_jwt: boolean;
  readonly import_map: boolean;
  readonly entrypoint_path: string;
  readonly import_map_path: string;
  readonly ezbr_sha256: string;
  /** Not part of the API: whether the function may read its files. */
  readonly static_patterns: readonly string[];
}

export interface ApiKeys {
  /** Legacy keys: JWTs signed with {@link jwtSecret} for ten years. */
  readonly anon: string;
  readonly serviceRole: string;
  readonly publishable: string;
  readonly secret: string;
  readonly jwtSecret: string;
}

export interface Project {
  readonly ref: string;
  readonly createdAt: string;
  readonly keys: ApiKeys;
  readonly secrets: Record<string, { readonly value: string; readonly updatedAt: string }>;
  readonly functions: Record<string, FunctionRecord>;
}

/** The projects of the emulator: a folder each, `project.json` in it, read once and written whole. */
export interface Store {
  /** Undefined where nothing was ever done with the project. */
  get(ref: string): Project | undefined;
  /** The project; any ref names one, and the first use makes it. */
  open(ref: string): Promise<Project>;
  /** Writes what was changed in the object that {@link open} answered. */
  save(project: Project): void;
  list(): readonly Project[];
  databaseFolder(ref: string): string;
  /** Folder of one upload of a function, by its hash. */
  uploadFolder(ref: string, slug: string, sha256: string): string;
  hasUpload(ref: string, slug: string, sha256: string): boolean;
  writeUpload(ref: string, slug: string, sha256: string, files: ReadonlyMap<string, Uint8Array>): void;
  readUpload(ref: string, slug: string, sha256: string): ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** Removes all uploads of a function but one. */
  pruneUploads(ref: string, slug: string, keep?: string): void;
}

export function openStore(dir: string): Store {
  const folder = join(dir, "projects");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const projects = new Map<string, Project>();
  const opening = new Map<string, Promise<Project>>();
  for (const ref of readdirSync(folder)) {
    const file = join(folder, ref, "project.json");
    if (existsSync(file)) projects.set(ref, JSON.parse(readFileSync(file, "utf8")) as Project);
  }
  return { get, open, save, list, databaseFolder, uploadFolder, hasUpload, writeUpload, readUpload, pruneUploads };

  function get(ref: string): Project | undefined {
    return projects.get(ref);
  }

  async function open(ref: string): Promise<Project> {
    const known = projects.get(ref) ?? opening.get(ref);
    if (known) return known;
    if (!projectRefPattern.test(ref)) throw new Error(`not a project ref: ${ref}`);
    const made = makeKeys(ref).then((keys) => {
      const project: Project = { ref, createdAt: new Date().toISOString(), keys, secrets: {}, functions: {} };
      projects.set(ref, project);
      save(project);
      opening.delete(ref);
      return project;
    });
    opening.set(ref, made);
    return made;
  }

  function save(project: Project): void {
    writeByRename(join(folder, project.ref, "project.json"), JSON.stringify(project, undefined, 2), 0o600);
  }

  function list(): readonly Project[] {
    return [...projects.values()].sort((a, b) => (a.ref < b.ref ? -1 : 1));
  }

  function databaseFolder(ref: string): string {
    return join(folder, ref, "database");
  }

  function functionFolder(ref: string, slug: string): string {
    return join(folder, ref, "functions", slug);
  }

  function uploadFolder(ref: string, slug: string, sha256: string): string {
    return join(functionFolder(ref, slug), sha256);
  }

  function hasUpload(ref: string, slug: string, sha256: string): boolean {
    return /^[0-9a-f]{64}$/.test(sha256) && existsSync(uploadFolder(ref, slug, sha256));
  }

  function writeUpload(ref: string, slug: string, sha256: string, files: ReadonlyMap<string, Uint8Array>): void {
    if (hasUpload(ref, slug, sha256)) return;
    const target = uploadFolder(ref, slug, sha256);
    const draft = `${target}.${randomUUID()}`;
    for (const [path, bytes] of files) {
      const file = join(draft, path);
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(file, bytes);
    }
    renameSync(draft, target);
  }

  function readUpload(ref: string, slug: string, sha256: string): ReadonlyMap<string, Uint8Array<ArrayBuffer>> {
    const root = uploadFolder(ref, slug, sha256);
    const entries = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return new Map(
      entries.map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path.slice(root.length + 1), new Uint8Array(readFileSync(path))];
      }),
    );
  }

  function pruneUploads(ref: string, slug: string, keep?: string): void {
    const root = functionFolder(ref, slug);
    if (keep === undefined) rmSync(root, { recursive: true, force: true });
    else
      for (const name of readdirSync(root))
        if (!name.startsWith(keep)) rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** Readers see the old text or the new one, also when the process ends in between. */
export function writeByRename(file: string, text: string, mode: number): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}`;
  writeFileSync(draft, text, { mode });
  renameSync(draft, file);
}

async function makeKeys(ref: string): Promise<ApiKeys> {
  const jwtSecret = randomBytes(40).toString("base64url");
  const legacy = (role: string) =>
    new SignJWT({ ref, role })
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .setIssuer("supabase")
      .setIssuedAt()
      .setExpirationTime("10y")
      .sign(new TextEncoder().encode(jwtSecret));
  return {
    anon: await legacy("anon"),
    serviceRole: await legacy("service_role"),
    publishable: `sb_publishable_${randomBytes(18).toString("base64url")}`,
    secret: `sb_secret_${randomBytes(18).toString("base64url")}`,
    jwtSecret,
  };
}

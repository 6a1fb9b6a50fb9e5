import { mkdir, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { vi } from "vitest";
import type { Bundle } from "../../../providers/adapter.ts";
import { Project } from "../plugin/project.ts";

const adapter = resolve(import.meta.dirname, "../../../providers/fly/adapter.ts");

/** Deploys what `input.json` lists through the real adapter. */
const program = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { fly } from ${JSON.stringify(adapter)};

const { settings, nodes } = JSON.parse(readFileSync(new URL("./input.json", import.meta.url), "utf8"));
class Parent extends pulumi.ComponentResource {
  constructor() { super("test:index:Parent", "parent"); }
}
const parent = new Parent();
const parsed = fly.settings.parse(settings);
export const urls = {};
for (const [name, { bundle, config, key }] of Object.entries(nodes)) {
  const url = fly.urlFor(name, parsed);
  const deployed = fly.deploy({ name, node: "acme/hub", url, settings: parsed, bundle, config, key: pulumi.secret(key), parent });
  urls[name] = deployed.url;
}
`;

/** A Pulumi project that deploys Fly nodes with the real engine, adapter and plugin. */
export async function flyProject(name: string, variables: Readonly<Record<string, string>>): Promise<Project> {
  // The project takes its environment from this process when it is made.
  for (const [key, value] of Object.entries(variables)) vi.stubEnv(key, value);
  const project = await Project.create(name, program, {
    name: "federation",
    folder: resolve(import.meta.dirname, "plugin"),
  });
  vi.unstubAllEnvs();
  await project.write("package.json", JSON.stringify({ name, private: true, type: "module" }));
  return project;
}

/** Puts a bundle where the toolkit's own compiler would. */
export async function writeBundle(project: Project, code: string): Promise<Bundle> {
  const sha256 = createHash("sha256").update(code).digest("hex");
  const path = join(".federation", "bundles", `fly-${sha256.slice(0, 16)}.js`);
  await mkdir(join(project.dir, ".federation", "bundles"), { recursive: true });
  await writeFile(join(project.dir, path), code);
  return { provider: "fly", functions: [], code: "", sha256, path, bytes: code.length, gzipBytes: 0 };
}

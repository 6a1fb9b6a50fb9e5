import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { prepareEnvironment, pulumiEnvironment } from "../../cli/environment.ts";
import { findProject, localCloudPort, type Project } from "../../cli/project.ts";

let project: Project;

beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "it's a project "));
  mkdirSync(join(dir, "stacks", "deep"), { recursive: true });
  mkdirSync(join(dir, ".federation", "cloud"), { recursive: true });
  writeFileSync(join(dir, "Pulumi.yaml"), "name: t\n");
  writeFileSync(
    join(dir, ".federation", "cloud", "tokens.json"),
    '{"cloudflare":"c-token","supabase":"s-token","fly":"f-token"}',
  );
  project = findProject(join(dir, "stacks", "deep"));
  stack("local", "api: http://127.0.0.1:7711/fly/v1\nurl: http://127.0.0.1:7711/fly/{name}");
  stack(
    "production",
    "# as on http://127.0.0.1:7700/fly/v1\napi: https://api.example/v1\nother: http://127.0.0.1:9/metrics",
  );
});
afterEach(() => rmSync(project.dir, { recursive: true }));

function stack(name: string, text: string): void {
  writeFileSync(join(project.dir, "stacks", `Pulumi.${name}.yaml`), text);
}

test("a stack is local when its endpoints are the local cloud's", () => {
  expect(localCloudPort(project, "local")).toBe(7711);
  expect(localCloudPort(project, "production")).toBeUndefined();
  stack("both", "a: http://127.0.0.1:1/fly/v1\nb: http://localhost:2/fly/v1");
  expect(() => localCloudPort(project, "both")).toThrow("on several ports (1, 2): use one");
  expect(() => localCloudPort(project, "none")).toThrow("stack none has no config");
});

test("a local stack gets its own state, passphrase and tokens, whatever the user has", () => {
  const env = pulumiEnvironment(project, "local", {
    PATH: "/bin",
    FLY_API_TOKEN: "real",
    PULUMI_CONFIG_PASSPHRASE: "real",
    HOME: "/h",
  });
  expect(env).toMatchObject({
    FLY_API_TOKEN: "f-token",
    CLOUDFLARE_API_TOKEN: "c-token",
    SUPABASE_ACCESS_TOKEN: "s-token",
    HOME: "/h",
  });
  expect(env["PULUMI_BACKEND_URL"]).toBe(`file://${project.dir}/.federation/state`);
  expect(env["PATH"]).toBe(`${project.dir}/providers/local-cloud/bin:${project.dir}/node_modules/.bin:/bin`);
  expect(env).not.toHaveProperty("PULUMI_CONFIG_PASSPHRASE");
});

test("tokens of the local cloud never reach another stack, and a chosen backend is left alone", () => {
  const user = { PATH: "/bin", FLY_API_TOKEN: "real" };
  expect(pulumiEnvironment(project, "production", user)).toEqual(user);
  const chosen = { ...user, PULUMI_BACKEND_URL: "s3://state" };
  expect(pulumiEnvironment(project, "local", chosen)).toEqual(chosen);
});

test("a shell that sources .federation/env has the same environment", () => {
  prepareEnvironment(project);
  const names = [
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_CONFIG_PASSPHRASE",
    "FLY_API_TOKEN",
    "NODE_COMPILE_CACHE",
    "PATH",
  ];
  const base = { PATH: process.env.PATH!, PULUMI_CONFIG_PASSPHRASE: "real" };
  const script = '. "$1"; shift; for name in "$@"; do eval "printf \'%s\\\\n\' \\"\\$$name\\""; done';
  const printed = execFileSync("sh", ["-c", script, "sh", join(project.home, "env"), ...names], {
    env: base,
    encoding: "utf8",
  });
  const expected = pulumiEnvironment(project, "local", base);
  expect(printed.trimEnd().split("\n")).toEqual(names.map((name) => expected[name] ?? ""));
});

test("files with secrets are the owner's alone, and the passphrase stays", () => {
  prepareEnvironment(project);
  const passphrase = readFileSync(join(project.home, "passphrase"), "utf8");
  prepareEnvironment(project);
  expect(readFileSync(join(project.home, "passphrase"), "utf8")).toBe(passphrase);
  expect(passphrase).toMatch(/^[\w-]{43}$/);
  for (const name of ["passphrase", "env"]) expect(statSync(join(project.home, name)).mode & 0o777).toBe(0o600);
});

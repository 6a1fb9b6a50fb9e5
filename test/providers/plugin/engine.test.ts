import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Project } from "./project.ts";

const plugin = { name: "sample", folder: resolve(import.meta.dirname, "sample") };

const program = `
const pulumi = require("@pulumi/pulumi");
const { folder, things = {} } = require("./input.json");

class Provider extends pulumi.ProviderResource {
  constructor(name, args) { super("sample", name, args); }
}
class Thing extends pulumi.CustomResource {
  constructor(name, args, opts) {
    super("sample:index/thing:Thing", name, { ...args, url: undefined, checksum: undefined }, opts);
  }
}
const provider = new Provider("provider", { folder: pulumi.secret(folder) });
const made = {};
for (const [name, { after, secretVariable, importId, ...args }] of Object.entries(things)) {
  if (after) args.variables = { seen: made[after].checksum, plain: "p" };
  if (secretVariable) args.variables = { hidden: pulumi.secret(secretVariable), shown: "in-clear" };
  made[name] = new Thing(name, args, { provider, ...(importId && { import: importId }) });
}
exports.urls = Object.fromEntries(Object.entries(made).map(([name, thing]) => [name, thing.url]));
`;

describe("the plugin server under the real engine", () => {
  let project: Project;
  let folder: string;
  const declare = (things: Record<string, object>) => project.input({ folder, things });
  const file = (name: string) => join(folder, `${name}.json`);
  const operations = () => readFileSync(join(folder, "operations"), "utf8").trim().split("\n");
  const stateOf = async (name: string) => (await project.resources()).find(({ urn }) => urn.endsWith(`::${name}`));
  const preview = (...args: string[]) => project.pulumi("preview", "--diff", "--stack", "test", ...args);

  beforeAll(async () => {
    project = await Project.create("plugin-server", program, plugin);
    folder = join(project.dir, "cloud");
    await mkdir(folder);
  });

  afterAll(() => project?.remove());

  test("a preview knows what the type knows, checks what is known, and makes nothing", async () => {
    await declare({ one: { name: "one", token: "s3cret-token" }, two: { name: "two", after: "one" } });
    const run = await preview();
    expect(run.code, run.text).toBe(0);
    // What depends on the first one's checksum is unknown, the defaults and the second one's URL are not.
    expect(run.text).toMatch(/name *: "two"\s+size *: 1\s+variables: \{\s+plain: "p"\s+seen *: \[unknown\]/);
    expect(run.text).toMatch(/two: "https:\/\/two.example"/);
    expect(run.text).not.toContain("s3cret-token");
    expect(existsSync(file("one"))).toBe(false);

    await declare({ one: { name: "one" }, two: { name: "TWO", mode: "odd", after: "one" } });
    const wrong = await preview();
    expect(wrong.code).not.toBe(0);
    expect(wrong.text).toContain('name: must be lower-case letters; it is "TWO"');
    expect(wrong.text).toContain('mode: Invalid option: expected one of "good"|"partial"|"refused"|"bug"; it is "odd"');
  });

  test("secrets stay secret wherever they were, defaults are stored, provider config arrives", async () => {
    await declare({
      one: { name: "one", token: "s3cret-token" },
      two: { name: "two", secretVariable: "h1dden-value" },
    });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(JSON.parse(readFileSync(file("one"), "utf8"))).toEqual({
      name: "one",
      size: 1,
      mode: "good",
      token: "s3cret-token",
      variables: {},
    });
    expect(JSON.parse(readFileSync(file("two"), "utf8")).variables).toEqual({
      hidden: "h1dden-value",
      shown: "in-clear",
    });
    const text = await project.state();
    for (const secret of ["s3cret-token", "h1dden-value", folder]) expect(text).not.toContain(secret);
    const two = await stateOf("two");
    expect(two?.outputs).toMatchObject({
      url: "https://two.example",
      variables: { shown: "in-clear", hidden: { ciphertext: expect.any(String) } },
    });
    expect(two?.outputs["checksum"]).toMatchObject({ ciphertext: expect.any(String) });
    expect(run.text).not.toContain("s3cret-token");
    expect((await project.up("--expect-no-changes")).code).toBe(0);
  });

  test("an update is in place, a new name replaces and deletes first", async () => {
    await declare({
      one: { name: "one", size: 2, token: "an0ther-token" },
      two: { name: "three", secretVariable: "h1dden-value" },
    });
    const shown = await preview();
    expect(shown.text).toMatch(/~ size *: 1 => 2/);
    expect(shown.text).toMatch(/~ token *: \[secret\] => \[secret\]/);
    expect(shown.text).toMatch(/name *: "two" => "three"/);
    rmSync(join(folder, "operations"));
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(operations().toSorted()).toEqual(["create three", "delete two", "update one"]);
    expect(operations().indexOf("delete two")).toBeLessThan(operations().indexOf("create three"));
    expect([existsSync(file("two")), existsSync(file("three"))]).toEqual([false, true]);
  });

  test("drift shows in a refresh, and a log line arrives; what is gone is made again", async () => {
    const drifted = { ...JSON.parse(readFileSync(file("one"), "utf8")), size: 9 };
    writeFileSync(file("one"), JSON.stringify(drifted));
    rmSync(file("three"));
    const run = await project.pulumi("refresh", "--yes", "--skip-preview", "--diff", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(run.text).toMatch(/size *: 2 => 9/);
    expect(run.text).toContain("warning: read one");
    const up = await project.up();
    expect(up.code, up.text).toBe(0);
    expect(JSON.parse(readFileSync(file("one"), "utf8")).size).toBe(2);
    expect(existsSync(file("three"))).toBe(true);
  });

  test("a user's fault has no stack, a bug has one, and neither leaves a resource behind", async () => {
    await declare({ refused: { name: "refused", mode: "refused" }, bug: { name: "bug", mode: "bug" } });
    const run = await project.up("--continue-on-error");
    expect(run.code).not.toBe(0);
    expect(run.text).toMatch(/error: (?:.*: )?the quota is used up: raise it and run again/);
    expect(run.text).toMatch(/TypeError: x is not a function\s+at put .*thing\.ts/);
    expect([await stateOf("refused"), await stateOf("bug")]).toEqual([undefined, undefined]);
  });

  test("a resource that was made but is not in order is kept, and the next run updates it", async () => {
    await declare({ half: { name: "half", mode: "partial", token: "p4rtial-token" } });
    const failed = await project.up();
    expect(failed.code).not.toBe(0);
    expect(failed.text).toContain("it was made but does not answer");
    expect(await stateOf("half")).toMatchObject({ id: "half", outputs: { url: "https://half.example" } });
    expect(await project.state()).not.toContain("p4rtial-token");
    await declare({ half: { name: "half", token: "p4rtial-token" } });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(run.text).toContain("~ sample:index/thing:Thing: (update)");
  });

  test("what exists can be imported, by a program and by `pulumi import`", async () => {
    const left = { name: "left", size: 4, mode: "good", token: "imp0rted-token", variables: { A: "1" } };
    writeFileSync(file("left"), JSON.stringify(left));
    writeFileSync(file("right"), JSON.stringify({ ...left, name: "right" }));
    await declare({ left: { ...left, importId: "left" } });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(await stateOf("left")).toMatchObject({
      id: "left",
      inputs: { size: 4, token: { ciphertext: expect.any(String) } },
    });
    expect(await project.state()).not.toContain("imp0rted-token");

    const provider = (await stateOf("provider"))!.urn;
    const options = [
      "--provider",
      `provider=${provider}`,
      "--yes",
      "--skip-preview",
      "--protect=false",
      "--generate-code=false",
    ];
    const imported = await project.pulumi(
      "import",
      "sample:index/thing:Thing",
      "right",
      "right",
      ...options,
      "--stack",
      "test",
    );
    expect(imported.code, imported.text).toBe(0);
    expect(await stateOf("right")).toMatchObject({ id: "right", inputs: { name: "right", size: 4 } });
  });
});

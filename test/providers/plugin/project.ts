import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../..");

export interface Run {
  readonly code: number;
  /** stdout and stderr. */
  readonly text: string;
}

/** A Pulumi project in a folder of its own, with a file backend, that the real engine runs with our plugin. */
export class Project {
  readonly dir: string;
  readonly #name: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(name: string, dir: string) {
    this.#name = name;
    this.dir = dir;
    this.#env = {
      ...process.env,
      PATH: `${root}/node_modules/.bin:${process.env["PATH"]}`,
      PULUMI_BACKEND_URL: `file://${dir}/backend`,
      PULUMI_CONFIG_PASSPHRASE: "a passphrase for a test",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      NO_COLOR: "1",
    };
  }

  /** @param program JavaScript (CommonJS); `plugin` is the folder of the plugin's executable. */
  static async create(name: string, program: string, plugin: { name: string; folder: string }): Promise<Project> {
    const dir = await mkdtemp(join(tmpdir(), "plugin-test-"));
    const project = new Project(name, dir);
    await mkdir(join(dir, "backend"));
    await symlink(join(root, "node_modules"), join(dir, "node_modules"));
    const definition = {
      name,
      runtime: "nodejs",
      main: "index.js",
      plugins: { providers: [{ name: plugin.name, path: plugin.folder }] },
    };
    await writeFile(join(dir, "Pulumi.yaml"), JSON.stringify(definition));
    await writeFile(join(dir, "package.json"), JSON.stringify({ name, private: true }));
    await project.write("index.js", program);
    await project.write("input.json", "{}");
    const made = await project.pulumi("stack", "init", "test");
    if (made.code !== 0) throw new Error(made.text);
    return project;
  }

  async write(file: string, text: string): Promise<void> {
    await writeFile(join(this.dir, file), text);
  }

  /** What the program reads as `require("./input.json")`. */
  async input(value: unknown): Promise<void> {
    await this.write("input.json", JSON.stringify(value));
  }

  pulumi(...args: string[]): Promise<Run> {
    return new Promise((done) => {
      const options = { cwd: this.dir, env: this.#env, maxBuffer: 64 * 1024 * 1024 };
      execFile("pulumi", [...args, "--non-interactive", "--color", "never"], options, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 1) : 0;
        done({ code, text: stdout + stderr });
      });
    });
  }

  up(...args: string[]): Promise<Run> {
    return this.pulumi("up", "--yes", "--skip-preview", "--diff", "--stack", "test", ...args);
  }

  async outputs(): Promise<Record<string, any>> {
    const run = await this.pulumi("stack", "output", "--json", "--stack", "test");
    if (run.code !== 0) throw new Error(run.text);
    return JSON.parse(run.text);
  }

  /** The state file as it is on disk. */
  state(): Promise<string> {
    return readFile(join(this.dir, "backend/.pulumi/stacks", this.#name, "test.json"), "utf8");
  }

  async resources(): Promise<
    { urn: string; id?: string; inputs: Record<string, any>; outputs: Record<string, any> }[]
  > {
    return JSON.parse(await this.state()).checkpoint.latest?.resources ?? [];
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true });
  }
}

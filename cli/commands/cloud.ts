import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { prepareEnvironment } from "../environment.ts";
import { findCloud, startCloud, stopCloud, type RunningCloud } from "../local-cloud.ts";
import { localCloudPort } from "../project.ts";
import { table } from "../table.ts";

export default defineCommand({
  help: `cloud start|stop|status [options]

The local cloud: the providers' control planes on this machine, and what is deployed to them.

  --port PORT   where it listens on 127.0.0.1 (default: as the stack's endpoints say, else 7700)
`,
  options: { port: { type: "string" } },
  arguments: ["start|stop|status"],
  async run({ values, positionals: [action], project, print }) {
    const say = (state: string, text: string, more: object = {}) =>
      print(values.json ? JSON.stringify({ state, ...more }) : text);
    if (action === "start") {
      const cloud = await startCloud(project, parsePort(values.port) ?? localCloudPort(project, values.stack) ?? 7700);
      prepareEnvironment(project);
      return say(
        "ready",
        `the local cloud ${cloud.fresh ? "is up" : "was up already"} on ${cloud.url} (pid ${cloud.pid})`,
        cloud,
      );
    }
    if (action === "stop") {
      const stopped = await stopCloud(project);
      return say(
        "stopped",
        stopped ? "the local cloud is stopped; what was deployed stays on disk" : "the local cloud does not run",
      );
    }
    if (action !== "status") throw new UsageError(`cloud: "${action}" is none of start, stop, status`);
    const cloud = await findCloud(project);
    if (!cloud) {
      say("stopped", "the local cloud does not run: `npx federation cloud start`");
      return 1;
    }
    return say(cloud.state, describe(cloud), cloud);
  },
});

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (/^\d+$/.test(text) && port > 0 && port < 65_536) return port;
  throw new UsageError(`cloud: --port is "${text}"; it must be 1 to 65535`);
}

function describe({ url, pid, state, started, providers }: RunningCloud): string {
  const rows = Object.entries(providers).flatMap(([provider, { runtimes }]) =>
    runtimes.map(({ name, state, pid, port, restarts }) => [
      provider,
      name,
      state,
      String(pid ?? ""),
      String(port ?? ""),
      String(restarts),
    ]),
  );
  const head = `${state} on ${url} (pid ${pid}) since ${started}`;
  return rows.length === 0
    ? `${head}\nnothing is deployed`
    : `${head}\n\n${table([["PROVIDER", "RUNTIME", "STATE", "PID", "PORT", "RESTARTS"], ...rows])}`;
}

import { defineCommand } from "../command.ts";
import { stopCloud } from "../local-cloud.ts";

export default defineCommand({
  help: `down [options]

Stops the local cloud and every runtime in it. What was deployed and stored stays on disk: \`federation up\` brings it back.
`,
  options: {},
  arguments: [],
  async run({ values, project, print }) {
    const stopped = await stopCloud(project);
    if (values.json) return print(JSON.stringify({ stopped }));
    print(stopped ? "the local cloud is stopped; what was deployed stays on disk" : "the local cloud does not run");
  },
});

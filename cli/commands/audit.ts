import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { unreachable } from "../mcp.ts";
import { openSession } from "../session.ts";
import { printable, table } from "../table.ts";

/** A page of a node's audit. */
interface Page {
  readonly records: readonly Readonly<Record<string, unknown>>[];
  readonly next?: string;
}

const columns = ["time", "direction", "subject", "method", "name", "peer", "decision", "outcome", "ms", "callId"];

export default defineCommand({
  help: `audit [NODE] [options]

Shows who called what on a node, oldest first. One call has the same id on every node that it touched.

  NODE          organization/node, or the node's name where it is the only one (default: the first node)
  --user USER   name@organization (default: the first user of the node's organization)
`,
  options: { user: { type: "string" } },
  arguments: ["[NODE]"],
  async run({ values, positionals, project, print }) {
    const { node, token } = await openSession(project, {
      stack: values.stack,
      node: positionals[0],
      user: values.user,
    });
    const records = await readAudit(`${node.url}/audit`, token);
    if (values.json) return print(JSON.stringify({ records }));
    const rows = records.map((record) => columns.map((name) => printable(String(record[name] ?? ""))));
    print(table([columns.map((name) => name.toUpperCase()), ...rows]));
  },
});

async function readAudit(url: string, token: string): Promise<Page["records"]> {
  const records: Page["records"][number][] = [];
  for (let after = ""; ;) {
    const response = await fetch(url + after, {
      headers: { authorization: `Bearer ${token}` },
      redirect: "error",
    }).catch((error: unknown) => {
      throw unreachable(url, error);
    });
    if (!response.ok)
      throw new CliError(
        `${url} answered HTTP ${response.status}: ${printable((await response.text()).slice(0, 500))}`,
      );
    const page = (await response.json()) as Page;
    records.push(...page.records);
    if (page.next === undefined) return records;
    after = `?after=${encodeURIComponent(page.next)}`;
  }
}

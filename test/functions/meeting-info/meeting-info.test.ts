import { expect, test, vi } from "vitest";
import { TestNetwork } from "../node/network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const good = { title: "Plan", start: "2027-03-01T09:30:00+01:00", durationMinutes: 30 };

test.each([
  ["no title", { ...good, title: "  " }, "title"],
  ["a title of 201 characters", { ...good, title: "x".repeat(201) }, "title"],
  ["a start without offset", { ...good, start: "2027-03-01T09:30:00" }, "start"],
  ["a start that is no date", { ...good, start: "tomorrow" }, "start"],
  ["the 30th of February", { ...good, start: "2027-02-30T09:30:00Z" }, "start"],
  ["no duration", { ...good, durationMinutes: 0 }, "durationMinutes"],
  ["half a minute", { ...good, durationMinutes: 0.5 }, "durationMinutes"],
  ["more than a day", { ...good, durationMinutes: 1_441 }, "durationMinutes"],
])("%s is refused, and the answer names the field", async (_, args, field) => {
  const network = await TestNetwork.start();
  const client = await network.connect("acme/data", "ada@acme");
  const result = await client.callTool({ name: "create_meeting", arguments: args });
  expect(result).toMatchObject({
    isError: true,
    content: [{ type: "text", text: expect.stringContaining(`- ${field}: `) }],
  });
  expect((await network.node("acme/data").state.list("fn/")).entries).toEqual([]);
});

test("meetings are listed in pages, in the order of their creation", async () => {
  const network = await TestNetwork.start();
  const client = await network.connect("acme/data", "ada@acme");
  const titles = ["a", "b", "c", "d", "e"];
  for (const title of titles) {
    await client.callTool({ name: "create_meeting", arguments: { ...good, title } });
    await new Promise((done) => setTimeout(done, 2));
  }
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const { structuredContent } = await client.callTool({
      name: "list_meetings",
      arguments: { limit: 2, ...(after !== undefined && { after }) },
    });
    const page = structuredContent as { meetings: { title: string }[]; next?: string };
    expect(page.meetings.length).toBeLessThanOrEqual(2);
    seen.push(...page.meetings.map(({ title }) => title));
    after = page.next;
  } while (after !== undefined);
  expect(seen).toEqual(titles);
});

test("a meeting that is not there is a fault of the caller for the tool, and unknown as a resource", async () => {
  const network = await TestNetwork.start();
  const client = await network.connect("acme/data", "ada@acme");
  const result = await client.callTool({ name: "get_meeting", arguments: { id: "nope" } });
  expect(result).toMatchObject({
    isError: true,
    content: [{ type: "text", text: "There is no meeting nope; list_meetings shows the ids." }],
  });
  await expect(client.readResource({ uri: "meeting://nope" })).rejects.toMatchObject({
    code: -32602,
    message: expect.stringContaining("Unknown resource: meeting://nope"),
  });
  await expect(client.getPrompt({ name: "meeting_summary", arguments: { id: "nope" } })).rejects.toMatchObject({
    code: -32602,
  });
});

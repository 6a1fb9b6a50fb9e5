import * as z from "zod";
import { defineFunction, tool, ToolError } from "../node/define.ts";
import { addMeeting, findMeeting, idPattern, meeting, meetingInput, meetingPage } from "./meetings.ts";

/** Keeps meetings in the node's state: they outlive restarts and are the same for every instance of the node. */
export default defineFunction({
  name: "meeting-info",
  description: "Creates, lists and shows meetings.",
  tools: {
    create_meeting: tool({
      title: "Create a meeting",
      description: "Stores a meeting and returns it with its id.",
      input: meetingInput,
      output: meeting,
      annotations: { readOnlyHint: false, destructiveHint: false, openWorldHint: false },
      run: async (input, { state, caller }) => ({ structured: await addMeeting(state, input, caller.subject) }),
    }),
    list_meetings: tool({
      title: "List meetings",
      description: "Returns meetings in the order of their creation, a page at a time.",
      input: z.object({
        limit: z.int().min(1).max(50).default(20).describe("Meetings per page"),
        after: z.string().regex(idPattern).optional().describe("The next of the page before"),
      }),
      output: z.object({
        meetings: z.array(meeting),
        next: z.string().optional().describe("Pass as after to get the next page; absent on the last"),
      }),
      annotations: { readOnlyHint: true, openWorldHint: false },
      run: async ({ limit, after }, { state }) => ({ structured: await meetingPage(state, after, limit) }),
    }),
    get_meeting: tool({
      title: "Show a meeting",
      description: "Returns one meeting by its id.",
      input: z.object({ id: z.string().max(100).describe("Id of the meeting") }),
      output: meeting,
      annotations: { readOnlyHint: true, openWorldHint: false },
      async run({ id }, { state }) {
        const found = await findMeeting(state, id);
        if (!found) throw new ToolError(`There is no meeting ${id}; list_meetings shows the ids.`);
        return { structured: found };
      },
    }),
  },
  resources: {
    "meeting://{id}": {
      name: "meeting",
      title: "Meeting",
      description: "One meeting as JSON.",
      mimeType: "application/json",
      async read(_uri, { id = "" }, { state }) {
        const found = await findMeeting(state, id);
        return found && JSON.stringify(found);
      },
    },
  },
  prompts: {
    meeting_summary: {
      title: "Summarize a meeting",
      description: "Asks the model to summarize one meeting.",
      arguments: { id: { description: "Id of the meeting", required: true } },
      async get({ id = "" }, { state }) {
        const found = await findMeeting(state, id);
        if (!found) throw new ToolError(`There is no meeting ${id}; the tool list_meetings shows the ids.`);
        return `Summarize this meeting in three sentences for somebody who was not there:\n\n${JSON.stringify(found, null, 2)}`;
      },
    },
  },
});

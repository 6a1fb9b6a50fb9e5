import * as z from "zod";
import type { State } from "../node/state/state.ts";

/** What a caller says about a meeting. */
export const meetingInput = z.object({
  title: z.string().trim().min(1).max(200).describe("What the meeting is about"),
  start: z.iso.datetime({ offset: true }).describe("RFC 3339 time with an offset, such as 2027-03-01T09:30:00+01:00"),
  durationMinutes: z.int().min(1).max(1_440).describe("Length in minutes, at most a day"),
  attendees: z
    .array(z.string().trim().min(1).max(200))
    .max(100)
    .default([])
    .describe("Names or addresses of those who come"),
  notes: z.string().max(10_000).exactOptional().describe("Agenda or other text"),
});

/** A meeting as it is kept. */
export const meeting = meetingInput.extend({
  id: z.string(),
  attendees: z.array(z.string()),
  organizer: z.string().describe("The user who created it"),
  created: z.string().describe("RFC 3339 time"),
});

export type MeetingInput = z.output<typeof meetingInput>;
export type Meeting = z.output<typeof meeting>;

export const idPattern = /^[a-z0-9]{8,9}-[0-9a-f]{12}$/;

/** Stores a new meeting. Ids sort by time of creation, so a list needs no index. */
export async function addMeeting(state: State, input: MeetingInput, organizer: string): Promise<Meeting> {
  const now = new Date();
  for (;;) {
    const id = `${now.getTime().toString(36).padStart(8, "0")}-${crypto.randomUUID().slice(-12)}`;
    const added: Meeting = { ...input, id, organizer, created: now.toISOString() };
    if ((await state.cas(keyOf(id), 0, added)) !== undefined) return added;
  }
}

export async function findMeeting(state: State, id: string): Promise<Meeting | undefined> {
  if (!idPattern.test(id)) return undefined;
  const entry = await state.get(keyOf(id));
  return entry && meeting.parse(entry.value);
}

/** A page of meetings, oldest first; `after` is the id that the page before ended with. */
export async function meetingPage(
  state: State,
  after: string | undefined,
  limit: number,
): Promise<{ readonly meetings: Meeting[]; readonly next?: string }> {
  const page = await state.list(keyOf(""), { limit, ...(after !== undefined && { after: keyOf(after) }) });
  const meetings = page.entries.map((entry) => meeting.parse(entry.value));
  return page.next === undefined ? { meetings } : { meetings, next: page.next.slice(keyOf("").length) };
}

function keyOf(id: string): string {
  return `meeting/${id}`;
}

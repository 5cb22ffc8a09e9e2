/** `version`: of this command, and whether the server answers. */
import { readFileSync } from "node:fs";
import { Metadata } from "nice-grpc-common";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { deadline } from "../../lib/clock.ts";
import { command } from "../command.ts";
import { describeFailure } from "../failure.ts";
import type { Session } from "../session.ts";

const ANSWER_WITHIN_MS = 3_000;

export const version = command({
  path: ["version"],
  summary: "Show the version of this command, and whether the server answers",
  flags: {},
  async run({ session }) {
    const client = clientVersion();
    const server = await serverWord(session);
    if (session.out.format === "json") session.out.line(JSON.stringify({ client, server, address: session.server.address }));
    else session.out.lines([`client: ${client}`, `server: ${server} (${session.server.address}, from ${session.server.from})`]);
  },
});

export function clientVersion(): string {
  const description: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (description as { version: string }).version;
}

/** A server that says its version does so in a header of every answer. */
async function serverWord(session: Session): Promise<string> {
  using limited = deadline(session.clock, ANSWER_WITHIN_MS, session.signal);
  let header = new Metadata();
  try {
    const onHeader = (given: Metadata) => (header = given);
    await session.connection.client(AuthServiceDefinition).whoAmI({}, { signal: limited.signal, onHeader });
    return header.get("drover-version") ?? "answers";
  } catch (error) {
    return describeFailure(error, undefined)[0]!.replace(/^error: /, "not reachable: ");
  }
}

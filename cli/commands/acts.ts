/** `pause`, `unpause`, `reset`: what the machine's node does at once. */
import type { Event } from "../../gen/drover/v1/event.ts";
import { command } from "../command.ts";
import { events } from "../kinds/event.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Key } from "../objects.ts";
import { objectName, printName, printObject } from "../print.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { forEach, machinesOf } from "./verbs.ts";

type Asking = Key & { requestId: string; validateOnly: boolean };
type Call = (session: Session, request: Asking, options: { signal: AbortSignal }) => Promise<{ event?: Event | undefined }>;

const act = ({ name, summary, done, call }: { name: string; summary: string; done: string; call: Call }) =>
  command({
    path: [name],
    summary,
    args: ["<names...>"],
    flags: {},
    async run({ args, session }) {
      await forEach(session, args, async (key) => {
        const { event } = await mutate(session, (requestId, signal) => call(session, { ...key, requestId, validateOnly: false }, { signal }));
        const { out } = session;
        if (out.format === "json" || out.format === "yaml") return printObject(out, events, event!);
        return printName(out, objectName(virtualMachines, key.name), done);
      });
    },
  });

export const pause = act({
  name: "pause", summary: "Stop the processors of machines; their memory stays", done: "paused",
  call: (session, request, options) => machinesOf(session).pauseVirtualMachine(request, options),
});

export const unpause = act({
  name: "unpause", summary: "Let paused machines go on", done: "unpaused",
  call: (session, request, options) => machinesOf(session).unpauseVirtualMachine(request, options),
});

export const reset = act({
  name: "reset", summary: "Press the reset button of machines", done: "reset",
  call: (session, request, options) => machinesOf(session).resetVirtualMachine(request, options),
});

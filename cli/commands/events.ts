/** `events`: what happened and why, oldest first. */
import { command, text, toggle } from "../command.ts";
import { UsageError } from "../failure.ts";
import { byTime, events as eventKind } from "../kinds/event.ts";
import { kindNamed } from "../kinds/names.ts";
import { ObjectClient } from "../objects.ts";
import type { Selection } from "../objects.ts";
import { printObjects } from "../print.ts";
import { watchObjects } from "./get.ts";

export const events = command({
  path: ["events"],
  summary: "Show what happened and why",
  flags: {
    watch: toggle("-w, --watch", "go on and show what happens"),
    about: text("--for <kind/name>", "only what is about this object"),
    everywhere: toggle("-A, --all-namespaces", "in every namespace"),
  },
  async run({ flags, session }) {
    const regarding = flags.about === undefined ? undefined : await regardingOf(flags.about);
    // Events about nodes belong to no namespace.
    const everywhere = flags.everywhere || regarding?.namespaced === false;
    const selection: Selection = {
      namespace: everywhere ? "" : session.namespace,
      ...(regarding && { fieldSelector: regarding.fieldSelector }),
    };
    if (flags.watch) return watchObjects(session, eventKind, { selection, everywhere });
    const found = await new ObjectClient(eventKind, session).list(selection);
    if (found.length === 0 && session.out.format === "table") return session.out.remark("No events found");
    return printObjects(session.out, eventKind, found.sort(byTime), { now: session.clock.now(), allNamespaces: everywhere });
  },
});

async function regardingOf(about: string): Promise<{ namespaced: boolean; fieldSelector: string }> {
  const [kindName, name, ...rest] = about.split("/");
  if (!kindName || !name || rest.length > 0) throw new UsageError('--for must be KIND/NAME, such as "vm/web"');
  const { kind, namespaced } = await kindNamed(kindName);
  return { namespaced, fieldSelector: `regarding.kind=${kind},regarding.name=${name}` };
}

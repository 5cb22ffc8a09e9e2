/** `get`: one object, a list, or a list that goes on. */
import { command, text, toggle } from "../command.ts";
import { UsageError } from "../failure.ts";
import { follow } from "../follow.ts";
import type { Kind, Resource } from "../kinds/kind.ts";
import { KIND_NAMES, targets } from "../kinds/names.ts";
import { ObjectClient } from "../objects.ts";
import type { Selection } from "../objects.ts";
import { ChangePrinter, printObject, printObjects } from "../print.ts";
import type { Session } from "../session.ts";

export const get = command({
  path: ["get"],
  summary: "Show objects",
  args: ["<kind>", "[names...]"],
  flags: {
    watch: toggle("-w, --watch", "go on and show every change"),
    labels: text("-l, --selector <selector>", 'only objects with these labels, such as "app=web,tier!=test"'),
    fields: text("--field-selector <selector>", 'only objects with these fields, such as "status.phase=PHASE_RUNNING"'),
    everywhere: toggle("-A, --all-namespaces", "in every namespace"),
  },
  more: `Kinds: ${KIND_NAMES}`,
  async run({ args, flags, session }) {
    const { kind, names } = await targets(args);
    const everywhere = flags.everywhere && kind.namespaced;
    if (names.length > 0 && everywhere) throw new UsageError("a name cannot be combined with --all-namespaces");
    const selection = {
      namespace: kind.namespaced && !everywhere ? session.namespace : "",
      ...(flags.labels !== undefined && { labelSelector: flags.labels }),
      ...(flags.fields !== undefined && { fieldSelector: flags.fields }),
    };
    if (flags.watch) return watchObjects(session, kind, { selection: onlyNamed(selection, names), everywhere });
    return names.length > 0 ? getNamed(session, kind, names) : listObjects(session, kind, { selection, everywhere });
  },
});

export type Shown = { selection: Selection; everywhere: boolean };

async function getNamed(session: Session, kind: Kind, names: readonly string[]): Promise<void> {
  const { out, clock, namespace } = session;
  const client = new ObjectClient(kind, session);
  const objects: Resource[] = [];
  for (const name of names) objects.push(await client.get({ namespace, name }));
  const alone = objects.length === 1 && (out.format === "json" || out.format === "yaml");
  return alone ? printObject(out, kind, objects[0]!) : printObjects(out, kind, objects, { now: clock.now() });
}

export async function listObjects(session: Session, kind: Kind, { selection, everywhere }: Shown): Promise<void> {
  const { out, clock } = session;
  const objects = await new ObjectClient(kind, session).list(selection);
  if (objects.length === 0 && (out.format === "table" || out.format === "wide")) {
    const where = kind.namespaced && !everywhere ? ` in namespace "${selection.namespace}"` : "";
    return out.remark(`No ${kind.kind} found${where}`);
  }
  return printObjects(out, kind, await inOrder(kind, objects), { now: clock.now(), allNamespaces: everywhere });
}

async function inOrder(kind: Kind, objects: Resource[]): Promise<Resource[]> {
  if (kind.kind !== "Event") return objects;
  const { byTime } = await import("../kinds/event.ts");
  return (objects as Parameters<typeof byTime>[0][]).sort(byTime);
}

/** What is there first comes as one table, so that its columns fit; each change then is a line. */
export async function watchObjects(session: Session, kind: Kind, { selection, everywhere }: Shown): Promise<void> {
  const printer = new ChangePrinter(session.out, kind, everywhere);
  const present: { type: string; object: Resource }[] = [];
  let synced = false;
  for await (const change of follow(new ObjectClient(kind, session), selection, session)) {
    if (change.type === "synced") {
      synced = true;
      const objects = await inOrder(kind, present.map(({ object }) => object));
      if (objects.length > 0) await printer.print(objects.map((object) => ({ type: "added", object })), session.clock.now());
    } else if (synced) await printer.print([change], session.clock.now());
    else present.push(change);
  }
}

function onlyNamed(selection: Selection, names: readonly string[]): Selection {
  if (names.length === 0) return selection;
  if (names.length > 1) throw new UsageError("--watch takes one name at most");
  const fields = [`metadata.name=${names[0]}`, ...(selection.fieldSelector === undefined ? [] : [selection.fieldSelector])];
  return { ...selection, fieldSelector: fields.join(",") };
}


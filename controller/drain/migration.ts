/** The migrations that a drain makes: what they are called, whose they are, which one is the latest. Pure. */
import { createHash } from "node:crypto";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { MigrationPhase, MigrationPriority, VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { DrainItemProgress, NodeDrain } from "../../gen/drover/v1/node.ts";
import { DRAIN_LABEL } from "../../lib/drain/record.ts";
import { suffixedName } from "../../lib/suffixed-name.ts";
import type { Instance, Migration, NodeRecord } from "../objects.ts";

type Item = Pick<DrainItemProgress, "uid" | "name" | "targetNode">;

const DIGEST_LENGTH = 8;

/** What the names of all attempts end in, but for their number. */
const infixOf = ({ uid }: Pick<Item, "uid">, drain: NodeDrain): string =>
  `drain-${createHash("sha256").update(`${drain.uid}/${uid}`).digest("hex").slice(0, DIGEST_LENGTH)}-`;

/** One name for each attempt, so that one that nobody wrote down before the controller died is found again. */
export const attemptName = (item: Item, drain: NodeDrain, attempt: number): string => suffixedName(item.name, `${infixOf(item, drain)}${attempt}`);

export type Attempt = { migration: Migration; number: number };

/** The latest attempt of this drain to move the machine. */
export function latestAttempt(migrations: readonly Migration[], item: Item, drain: NodeDrain): Attempt | undefined {
  const infix = infixOf(item, drain);
  const attempts = migrations.flatMap((migration): Attempt[] => {
    const [, number] = migration.metadata.name.split(infix);
    return number === undefined ? [] : [{ migration, number: Number(number) }];
  });
  return attempts.toSorted((a, b) => b.number - a.number)[0];
}

/** Those that failed on the way to its present target. */
export function failedAttempts(migrations: readonly Migration[], item: Item, drain: NodeDrain): number {
  const infix = infixOf(item, drain);
  return migrations.filter(({ metadata, spec, status }) =>
    metadata.name.includes(infix) && spec.targetNode === item.targetNode && status.phase === MigrationPhase.FAILED).length;
}

export const isOfDrain = ({ metadata }: Migration, node: NodeRecord): boolean => metadata.labels[DRAIN_LABEL] === node.metadata.uid;

/** It names the run, so that it never moves a later one. */
export function migrationFor(item: DrainItemProgress, instance: Instance, { node, drain }: { node: NodeRecord; drain: NodeDrain }): Migration {
  const { namespace, name, uid } = instance.metadata;
  return {
    metadata: ObjectMeta.create({
      namespace,
      name: attemptName(item, drain, item.attempts + 1),
      labels: { [DRAIN_LABEL]: node.metadata.uid },
      ownerReferences: [
        { kind: "VirtualMachineInstance", name, uid },
        { kind: "Node", name: node.metadata.name, uid: node.metadata.uid },
      ],
    }),
    spec: VirtualMachineInstanceMigrationSpec.create({ vmiName: name, targetNode: item.targetNode, priority: MigrationPriority.SYSTEM_MAINTENANCE }),
    status: VirtualMachineInstanceMigrationStatus.create(),
  };
}

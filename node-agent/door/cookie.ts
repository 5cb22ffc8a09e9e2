/**
 * The cookie that rides along with libvirt's migration calls, of which the last one carries the definition that the target
 * is to keep (pure).
 */
import { serialize } from "../domain/element.ts";
import { checkDomain } from "./domain-check.ts";
import type { Intended } from "./domain-check.ts";
import { cpuRule } from "./domain-rules.ts";
import type { Rule } from "./domain-rules.ts";
import { checkTree, indexOf, Unintended } from "./tree-check.ts";
import { elementsOf, parseXml } from "./xml-tree.ts";

const word = (value: string): boolean => /^[\w.+:-]{1,255}$/.test(value);
const number = (value: string): boolean => /^\d{1,20}$/.test(value);

const STATISTICS = [
  "started", "stopped", "sent", "delta", "time_elapsed", "time_remaining", "downtime", "setup_time",
  "memory_total", "memory_processed", "memory_remaining", "memory_bps", "memory_constant", "memory_normal", "memory_normal_bytes",
  "memory_dirty_rate", "memory_iteration", "memory_postcopy_requests", "memory_page_size",
  "disk_total", "disk_processed", "disk_remaining", "disk_bps", "auto_converge_throttle",
  "compression_cache", "compression_bytes", "compression_pages", "compression_cache_misses", "compression_overflow",
];

/** Without "domain", whose rules are a domain's. */
function ruleFor({ name, uuid, copied, index }: Intended): Rule {
  const devices = index.values.get("domain/devices/disk/target@dev") ?? [];
  const once = (check: (value: string) => boolean): Rule => ({ extra: 1, text: check });
  return {
    extra: 1,
    children: {
      name: once((value) => value === name),
      uuid: once((value) => value === uuid),
      hostname: once(word),
      hostuuid: once(word),
      feature: { extra: 8, attributes: { name: word } },
      cpu: cpuRule,
      capabilities: { extra: 1, children: { cap: { extra: 64, attributes: { name: word, auto: word } } } },
      statistics: { extra: 1, children: Object.fromEntries(STATISTICS.map((field) => [field, once(number)])) },
      allowReboot: { extra: 1, attributes: { value: word } },
      network: { extra: 1 },
      // The sizes of all disks: libvirt makes images by them, but for those that lie ready. Where their bytes are received is for
      // this host's libvirt to choose.
      ...(copied.size > 0 && {
        nbd: { extra: 1, children: { disk: { extra: devices.length, attributes: { target: (value: string) => devices.includes(value), capacity: number } } } },
      }),
    },
  };
}

/** The cookie as it may be passed on. Throws Unintended or BadXml. */
export function checkCookie(text: string, intended: Intended): string {
  const root = parseXml(text);
  if (root.name !== "qemu-migration") throw new Unintended(`"${root.name}" is no migration cookie`);
  const domains = elementsOf(root).filter(({ name }) => name === "domain");
  if (domains.length > 1) throw new Unintended("The cookie has several domains in it");
  const rest = { ...root, children: root.children.filter((child) => !domains.includes(child as never)) };
  const checked = checkTree(rest, { rule: ruleFor(intended), intended: indexOf(undefined) });
  return serialize({ ...checked, children: [...checked.children, ...domains.map((domain) => checkDomain(domain, intended))] });
}

/** What kind of board a pinned machine type is, as far as its devices care (pure). */

export type Board = { machineType: string; isPcie: boolean; isX86: boolean };

export function boardOf(machineType: string, architecture: string): Board {
  return {
    machineType,
    isPcie: /^(pc-q35|q35|virt)(-|$)/.test(machineType),
    isX86: architecture === "x86_64" || architecture === "i686",
  };
}

/** Where the real work goes. */
export async function rollOut(version: string): Promise<string> {
  return `deployed ${version}`;
}

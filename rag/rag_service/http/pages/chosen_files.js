// What a person chose or dropped, as files with the names that they are stored by.

/** The files of a file field. From a folder each is named by its place in it; hidden ones are left out. */
export function filesOf(field) {
  return visible([...field.files].map((file) => ({ file, name: inside(file.webkitRelativePath) || file.name })));
}

/** The files that were dropped, and those in folders that were dropped, at any depth. */
export async function filesDropped(transfer) {
  // all at once: after the first wait the browser has emptied the list
  const found = [...transfer.items].map((item) => {
    const entry = item.webkitGetAsEntry();
    if (entry?.isDirectory) return filesUnder(entry);
    const file = item.getAsFile();
    return file ? [{ file, name: file.name }] : [];
  });
  return visible((await Promise.all(found)).flat());
}

async function filesUnder(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // not all at once
    if (!some.length) break;
    entries.push(...some);
  }
  return (await Promise.all(entries.map((entry) => (entry.isDirectory ? filesUnder(entry) : fileOf(entry))))).flat();
}

async function fileOf(entry) {
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  return { file, name: inside(entry.fullPath.slice(1)) };
}

/** A path without its first folder, which is the one that was chosen. */
const inside = (path) => path.split("/").slice(1).join("/");

const visible = (files) => files.filter(({ name }) => !name.split("/").some((part) => part.startsWith(".")));

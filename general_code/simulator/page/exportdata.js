// Simulated export page, part 1: elements, requests to the server, the record set and the processing menu.
// States and texts are those of JSOC's page of 2021; VERSION switches to the behaviour of 2018.

const VERSION = document.body.dataset.version;
const OPTIONS = ["OptionNone", "OptionAiaScale", "OptionHmiB2ptr", "OptionResize", "OptionImPatch", "OptionMaproj",
                 "OptionRebin"];
const element = {};
document.querySelectorAll("[id], [data-id]").forEach((each) => { element[each.id || each.dataset.id] = each; });

// what the page would send; set when the check button runs
var ExportProcessingArgs = "";
var sizeratio = 1;

const page = {recordSet: "", count: 0, applicable: false, registered: false, exportState: "not ready"};

function show(id, visible) {
  element[id].classList.toggle("hidden", !visible);
}

async function ask(path, parameters, method = "GET") {
  const body = new URLSearchParams(parameters).toString();
  const options = {method: method, headers: {"X-Requested-With": "XMLHttpRequest"}};
  let url = "/cgi-bin/" + path;
  if (method === "POST") {
    options.headers["Content-Type"] = "application/x-www-form-urlencoded";
    options.body = body + "&_=";
  } else {
    url += "?" + body;
  }
  element.AjaxBusy.textContent = Number(element.AjaxBusy.textContent) + 1;
  try {
    const answer = await fetch(url, options);
    if (!answer.ok) {
      throw new Error("HTTP status " + answer.status);
    }
    return await answer.json();
  } finally {
    element.AjaxBusy.textContent = Number(element.AjaxBusy.textContent) - 1;
  }
}

// ------------------------------------------------------------------------------------------------ record set

async function recordSetChanged() {
  page.recordSet = element.ExportRecordSet.value.trim();
  page.applicable = false;
  page.count = 0;
  if (VERSION !== "2018") {
    closeProcessing();  // since 2019 a change of the record set silently clears the processing
  }
  setExportState("not ready");
  element.ProcessingCheckbox.disabled = true;
  show("ProcessingWaitMessage", true);
  element.RSCountPlace.textContent = "...";
  let parsed;
  try {
    parsed = await ask("drms_parserecset", {spec: page.recordSet});
  } catch (error) {
    alert("Unable to parse record-set specficiation '" + page.recordSet + "'.");
    return;
  }
  if (parsed.errMsg) {
    element.RSCountPlace.textContent = parsed.errMsg;
    return;
  }
  const series = parsed.subsets[0].seriesname;
  await readSeries(series);
}

async function readSeries(series) {
  let information;
  try {
    information = await ask("series_info", {series: series, atts: "1", keys: "*", segs: "*"});
  } catch (error) {
    alert("Unable to retrieve series information for record-set " + page.recordSet);
    return;
  }
  if (information.errMsg) {
    element.RSCountPlace.textContent = information.errMsg;
    return;  // the wait message stays until a good record set is entered
  }
  const count = VERSION === "2018"
    ? ask("ajax/jsocextinfo", {op: "rs_list", ds: page.recordSet, key: "T_REC", dbhost: "hmidb2"})
    : ask("ajax/jsocextinfo", {op: "rs_summary", ds: page.recordSet, dbhost: "hmidb2"});
  const structure = ask("ajax/jsocextinfo", {op: "series_struct", ds: series, l: "1", dbhost: "hmidb2"});
  const keywords = ask("ajax/jsocextinfo", {op: "rs_list", ds: page.recordSet, n: "1", dbhost: "hmidb2",
                                            key: "CTYPE1,CTYPE2,LVL_NUM,*spec*,*online*,*size*"});
  try {
    const answers = await Promise.all([count, structure, keywords]);
    page.count = answers[0].count;
    const keys = Object.fromEntries((answers[2].keywords || []).map((key) => [key.name, key.values[0]]));
    page.applicable = "CTYPE1" in keys && information[series.toLowerCase()].segments.magnetogram["number-axes"] === 2;
  } catch (error) {
    alert("[ processingGetRecInfo ] Something went wrong...");
    return;
  }
  element.RSCountPlace.textContent = String(page.count);
  if (!element.ExportFilenameFmt.value) {
    element.ExportFilenameFmt.value = series + ".{T_REC:A}.{CAMERA}.{segment}";
  }
  element.ImRecordSet.value = page.recordSet;
  element.ProcessingCheckbox.disabled = false;
  show("ProcessingWaitMessage", false);
}

// ------------------------------------------------------------------------------------------------ processing menu

function closeProcessing() {
  element.ProcessingCheckbox.checked = false;
  OPTIONS.forEach((option) => { element[option].checked = option === "OptionNone"; });
  show("ExportProcessing", false);
  show("ProcessImPatch", false);
}

function processingClicked() {
  if (!page.recordSet) {
    element.ProcessingCheckbox.checked = false;
    alert("Select RecordSet before selecting processing");
    return;
  }
  if (!element.ProcessingCheckbox.checked) {
    closeProcessing();
    return;
  }
  show("ExportProcessing", true);
  ["OptionImPatch", "OptionResize", "OptionMaproj", "OptionRebin"].forEach((option) => {
    element[option].disabled = !page.applicable;
  });
}

function ready() {
  element.ExportRecordSet.addEventListener("change", recordSetChanged);
  element.CountButton.addEventListener("click", recordSetChanged);
  element.ProcessingCheckbox.addEventListener("click", processingClicked);
  element.ResetPageButton.addEventListener("click", () => window.location.reload());
  if (VERSION === "2018") {
    element.ExportCheckButton.value = "Check Params for Export";
    element.ExportCheckButton.disabled = false;
    element.ExportButton.value = "Submit Export Request";
  }
  element.ResetPageButton.disabled = false;
}

// the original builds its form from further files; so it is not ready at once
window.addEventListener("load", () => setTimeout(ready, 100));

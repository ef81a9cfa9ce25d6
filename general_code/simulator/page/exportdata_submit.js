// Simulated export page, part 3: address, check, submission, status.

const ADDRESS = /^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$/;
const LABELS_2018 = {"not ready": "Submit Export Request", "submit": "Submit Export Request"};
const INPUTS = ["ExportRecordSet", "ExportMethod", "ProcessingCheckbox", "ExportNotify", "ExportCheckButton"];

function setExportState(state) {
  page.exportState = state;
  element.ExportButton.value = (VERSION === "2018" && LABELS_2018[state]) || state;
  element.ExportButton.disabled = !["submit", "cancel", "continue", "Request Export Status"].includes(state);
}

// ------------------------------------------------------------------------------------------------ address, check

async function notifyChanged() {
  const address = element.ExportNotify.value.trim();
  page.registered = false;
  setExportState("not ready");
  if (VERSION === "2018") {
    return;  // looked at by the check button only
  }
  element.ExportNotifyMsg.textContent = "";
  element.ExportCheckButton.value = "wait...";
  element.ExportCheckButton.disabled = true;
  if (!ADDRESS.test(address)) {
    return;
  }
  let answer;
  try {
    answer = await ask("ajax/checkAddress.sh", {address: address, name: "", checkonly: "1"}, "POST");
  } catch (error) {
    element.ExportNotifyMsg.textContent = "REGISTRATION FAILURE";
    return;
  }
  page.registered = answer.status === 2;
  element.ExportNotifyMsg.textContent = page.registered ? "REGISTERED" : "UNREGISTERED";
  element.ExportCheckButton.value = page.registered ? "check parameters" : "register address";
  element.ExportCheckButton.disabled = false;
  if (page.registered && await requestPending()) {
    showPending();
  }
}

async function requestPending() {
  try {
    const answer = await ask("ajax/manage-request.sh", {address: element.ExportNotify.value.trim(),
                                                        operation: "check", H: "hmidb2"});
    return answer.status === "2";
  } catch (error) {
    alert("unable to check for a pending export request");
    return false;
  }
}

function showPending() {
  setExportState("cancel");
  element.ExportButtonMsg.textContent =
    "An export request is pending; click to cancel, or wait for completion";
  INPUTS.forEach((id) => { element[id].disabled = true; });
}

async function checkClicked() {
  const address = element.ExportNotify.value.trim();
  setExportState("wait...");
  element.ExportCheckMsg.textContent = "";
  const form = VERSION === "2018" ? {address: address, checkonly: "0"} : {address: address, name: "", checkonly: "0"};
  const answer = await ask("ajax/checkAddress.sh", form, "POST");
  if (answer.status !== 2) {
    element.ExportCheckMsg.textContent = answer.msg;
    setExportState("not ready");
    return;
  }
  if (VERSION !== "2018" && await requestPending()) {
    showPending();
    return;
  }
  if (element.ProcessingCheckbox.checked && element.OptionImPatch.checked && !setImPatch()) {
    setExportState("not ready");
    return;
  }
  ExportProcessingArgs = processingArguments();
  setExportState(page.count > 0 ? "submit" : "not ready");
}

// ------------------------------------------------------------------------------------------------ submission

async function exportClicked() {
  if (page.exportState === "cancel") {  // a second click cancels the request
    await ask("ajax/manage-request.sh", {address: element.ExportNotify.value.trim(), operation: "cancel", H: "hmidb2"});
    setExportState("continue");
    return;
  }
  if (page.exportState !== "submit") {
    return;
  }
  setExportState("wait...");
  element.RequestIdPlace.innerHTML = "&nbsp;";
  const form = {op: "exp_request", ds: page.recordSet, sizeratio: String(sizeratio), process: ExportProcessingArgs,
                requestor: VERSION === "2018" ? "none" : element.ExportRequestor.value,
                notify: element.ExportNotify.value.trim(), method: element.ExportMethod.value,
                filenamefmt: element.ExportFilenameFmt.value, format: "json",
                protocol: element.ExportProtocol.value === "FITS" ? "FITS,compress Rice" : "as-is", dbhost: "hmidb2"};
  try {
    showSubmitted(await ask("ajax/jsocextfetch", form, "POST"));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error.message.startsWith("HTTP")) {
      element.ExportStatus.textContent = "Export Failure, Problem at JSOC facility.";
      alert("[ GetExport ] Something went wrong...");
      return;
    }
    throw error;  // as the page of 2018 ends on status 7
  }
}

function showSubmitted(data) {
  if ([0, 1, 2, 12].includes(data.status)) {
    element.RequestIdPlace.textContent = data.requestid;
    element.StatusRequestID.value = data.requestid;
    element.ExportStatus.textContent = "";
    setExportState(VERSION === "2018" ? "Request Export Status" : "cancel");
    if (VERSION !== "2018") {
      watchPending();
    }
    return;
  }
  if (data.status === 7 && VERSION === "2018") {
    throw new RangeError("status 7 is not known to this page");
  }
  const texts = {3: "Needs Intervention, size=" + data.size, 4: "RecordSet not found", 6: "RecordSet not found",
                 5: "Export timeout", 7: "Request Rejected"};
  element.ExportStatus.textContent = texts[data.status] || "Export failure, status=" + data.status;
  element.ExportButtonMsg.textContent = data.error;
  setExportState(data.status === 7 ? "Wait" : "not ready");
}

async function watchPending() {
  while (page.exportState === "cancel") {
    if (!await requestPending()) {
      setExportState("get path");
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// ------------------------------------------------------------------------------------------------ status

async function statusAsked() {
  const number = element.StatusRequestID.value.trim();
  if (!number) {
    alert("You must provide a RequestID");
    return;
  }
  element.StatusButton.value = "Processing ...";
  element.StatusButtonMsg.textContent = "Processing status request ...";
  ["StatusStatus", "StatusValue", "StatusOther", "TarFileLocation", "StatusDataLocation"].forEach((id) => {
    element[id].textContent = "";
  });
  try {
    showStatus(await ask("ajax/jsoc_fetch", {op: "exp_status", requestid: number}));
  } catch (error) {
    element.StatusButton.value = "Submit Status Request";
    alert("[ GetStatus ] Something went wrong...");
  }
}

function showStatus(data) {
  const code = Number(data.status);
  const texts = {
    0: "Success", 1: "Export request is being processed", 2: "Export request waiting for processing",
    12: "Export request waiting for processing", 3: "Requested export size is too large: " + data.size,
    5: "Requested RequestID is too old, data no longer online.",
    6: "RequestID not found, status=6, maybe not registered yet. Try again in a few seconds"};
  element.StatusValue.textContent = texts[code] || data.error;
  element.StatusButton.value = code === 4 ? "Bad RecordSet" : "Submit Status Request";
  element.StatusButtonMsg.textContent = "Please only click once for status request.";
  if (code === 0) {
    element.StatusStatus.textContent = "Data Ready, size=" + data.size + "MB";
    showFiles(data);
  }
}

function showFiles(data) {
  if (data.tarfile) {
    const link = document.createElement("a");
    link.href = document.body.dataset.links + data.tarfile;
    link.textContent = data.tarfile;
    element.TarFileLocation.append(link);
  }
  const table = document.createElement("table");
  data.data.forEach((row) => {
    const cells = table.insertRow();
    cells.insertCell().textContent = row.record;
    cells.insertCell().textContent = row.filename;
  });
  element.StatusDataLocation.append(table);
}

element.ExportNotify.addEventListener("change", notifyChanged);
element.ExportCheckButton.addEventListener("click", checkClicked);
element.ExportButton.addEventListener("click", exportClicked);
element.StatusRequestID.addEventListener("change", statusAsked);
element.StatusButton.addEventListener("click", statusAsked);
element.ClearButton.addEventListener("click", () => { element.StatusRequestID.value = ""; });

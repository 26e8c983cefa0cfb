// Lets the answer grow where it stands. Everything here is a comfort: the page also works by loading it again.
(function () {
  "use strict";

  var DEAD = 40000; // ms without a word from the server, which speaks every 15 s
  var SLOWEST = 15000; // ms between two tries to connect

  var body = document.body;
  var says = body.dataset;
  var answer = document.getElementById("answer");
  var note = document.getElementById("note");
  var stop = document.getElementById("stop");
  var source = null;
  var heard = 0;
  var wait = 1000;
  var retry = null;
  var usual = note.textContent;

  function growing() {
    return says.state === "waiting" || says.state === "growing" || says.state === "stopping";
  }

  function element(html) {
    var paper = document.createElement("template");
    paper.innerHTML = html; // the server has sanitised it, and the page's policy runs no script
    return paper.content.firstElementChild;
  }

  function near() {
    var page = document.scrollingElement || document.documentElement;
    return page.scrollTop > 0 && page.scrollHeight - page.scrollTop - window.innerHeight < 90;
  }

  function apply(change) {
    var follow = near();
    var place = change.from;
    change.blocks.forEach(function (html) {
      var fresh = element(html);
      var old = answer.children[place];
      // What has not changed stays, and with it what the reader has marked or scrolled.
      if (!old) {
        answer.appendChild(fresh);
      } else if (!old.isEqualNode(fresh)) {
        answer.replaceChild(fresh, old);
      }
      place += 1;
    });
    while (answer.children.length > place) {
      answer.removeChild(answer.lastElementChild);
    }
    if (change.lang === null) {
      answer.removeAttribute("lang");
    } else {
      answer.lang = change.lang;
    }
    if (!(says.state === "stopping" && change.state === "growing")) {
      tell(change.state, change.note);
    }
    if (follow) {
      window.scrollTo(0, document.documentElement.scrollHeight);
    }
  }

  function tell(state, text) {
    says.state = state;
    usual = text;
    body.classList.remove("offline");
    if (note.textContent !== text) {
      note.textContent = text;
    }
  }

  function lost() {
    body.classList.add("offline");
    note.textContent = says.offline;
  }

  function finish() {
    source.close();
    source = null;
    answer.setAttribute("aria-busy", "false");
    if (stop) {
      stop.remove();
    }
    copying();
  }

  function connect() {
    clearTimeout(retry);
    if (source) {
      source.close();
    }
    heard = Date.now();
    source = new EventSource(says.events);
    source.onopen = hear;
    source.addEventListener("beat", hear);
    source.onmessage = function (event) {
      hear();
      apply(JSON.parse(event.data));
    };
    source.addEventListener("end", function (event) {
      apply(JSON.parse(event.data));
      finish();
    });
    source.onerror = function () {
      lost();
      // Whether the browser tries again by itself depends on what went wrong, and on the browser.
      source.close();
      clearTimeout(retry);
      retry = setTimeout(connect, wait);
      wait = Math.min(wait * 2, SLOWEST);
    };
  }

  function hear() {
    heard = Date.now();
    wait = 1000;
    if (body.classList.contains("offline")) {
      body.classList.remove("offline");
      note.textContent = usual;
    }
  }

  function again() {
    if (source && !document.hidden) {
      connect();
    }
  }

  function copying() {
    if (!navigator.clipboard) {
      return;
    }
    answer.querySelectorAll("div.code").forEach(function (code) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = says.copy;
      button.addEventListener("click", function () {
        navigator.clipboard.writeText(code.querySelector("code").textContent).then(function () {
          button.textContent = says.copied;
          setTimeout(function () {
            button.textContent = says.copy;
          }, 2000);
        }, function () {});
      });
      code.appendChild(button);
    });
  }

  if (!growing()) {
    copying();
    return;
  }
  if (stop && window.fetch) {
    stop.addEventListener("submit", function (event) {
      event.preventDefault();
      stop.querySelector("button").disabled = true;
      fetch(stop.getAttribute("action"), { method: "POST", redirect: "manual" }).then(
        function (answered) {
          if (answered.type !== "opaqueredirect" && !answered.ok) {
            throw new Error("not stopped");
          }
          if (growing()) {
            tell("stopping", says.stopping);
          }
        }
      ).catch(function () {
        stop.querySelector("button").disabled = false;
      });
    });
  }
  if (window.EventSource) {
    connect();
    setInterval(function () {
      if (source && Date.now() - heard > DEAD) {
        again();
      }
    }, 5000);
    window.addEventListener("online", again);
    document.addEventListener("visibilitychange", function () {
      // A phone that slept may hold on to a connection that is long gone.
      if (Date.now() - heard > 5000) {
        again();
      }
    });
  } else {
    setTimeout(function () {
      location.reload();
    }, 3000);
  }
})();

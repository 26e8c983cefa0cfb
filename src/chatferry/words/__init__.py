"""What the program itself says to people, in their language: one TOML file per language beside this one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

Language = Literal["zh-TW", "zh-CN", "ja", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every sentence of one language. A language that lacks one cannot be loaded."""

    instructions: str
    """Who the assistant is, where the operator does not say."""
    greeting: str
    greeting_session: str
    """The same where the assistant answers in sessions; takes `start`: what begins one."""
    masks: str
    """Tells the model what masks are, where there are some."""
    waiting: str
    """The answer comes by itself."""
    on_its_way: str
    """The answer is still being made; the button `fetch` brings it."""
    fetch: str
    more: str
    """The answer goes on; the button `more_label` brings the rest."""
    more_label: str
    nothing_waiting: str
    """A button was tapped, and everything has been delivered."""
    answering: str
    calling: str
    """Stands where the answer will grow."""
    stop: str
    """The button under an answer that grows."""
    stopped: str
    """Ends an answer that somebody stopped; Markdown."""
    stop_answer: str
    """The command on a message, and the title of its dialog: 24 characters at most."""
    stop_sure: str
    delete_answer: str
    """The command on a message: 24 characters at most."""
    cancel: str
    usage: str
    """A slash command came without a question; takes `command`."""
    not_yours: str
    """Refuses to delete the answer to another person."""
    not_mine: str
    """Refuses to stop or delete what is not our answer."""
    sorry_busy: str
    """The model takes no more at the moment."""
    sorry_failed: str
    sorry_filtered: str
    """The provider withheld the answer."""
    sorry_empty: str
    not_known: str
    """What the answer is to rest on says nothing about the question."""
    ask_in_words: str
    """The question is in a picture or a file, where nobody can tell what an answer could rest on."""
    noted: str
    """There is no answer, but something was noted of the person, who may have asked for nothing else."""
    sources: str
    """Heads the sources that an answer cites."""
    cut_short: str
    """The answer met the length limit."""
    slow: str
    near: str
    spent_day: str
    spent_month: str
    """There are too many messages of one person, or in one talk; takes `time`, after which to go on."""
    too_long: str
    """A message has too many characters; takes `number`."""
    passed_over: str
    """A file came with a command."""
    confirm_ask: str
    """Stands above what is to be called."""
    confirm_how: str
    confirm_mention: str
    """The same in a group where we hear only those who mention us, and that has buttons."""
    confirm_over: str
    """Somebody taps a button of a question that is not, or not any more, put to them."""
    yes: str
    """A button of 20 characters at most."""
    no: str
    image: str
    audio: str
    video: str
    file: str
    """Stands for a file in the prompt; takes `name`."""
    unnamed: str
    """The same for one without a name."""
    sticker: str
    """Takes `text`: what the sticker says."""
    location: str
    """Takes `text`: the address."""
    unseen: str
    """This and the next ones follow `image`, `audio` or `file`, and tell the model why it knows no more of it."""
    unread_unknown: str
    unread_heic: str
    unread_broken: str
    unread_heavy: str
    unread_locked: str
    unread_macros: str
    unread_silent: str
    unread_missing: str
    unread_large: str
    """Takes `size`."""
    unread_many: str
    """Takes `number`: how many are looked at."""
    unread_gone: str
    unheard: str
    unheard_format: str
    read_cut: str
    """Takes `number`, as does the next."""
    read_pages: str
    read: str
    """Stands before what was read in a file or a picture, of which each line is quoted."""
    session_began: str
    session_ongoing: str
    """Somebody begins a session and is in one."""
    session_open: str
    """Somebody begins a session where none is needed."""
    session_ended: str
    """Takes `start`: the command that begins another."""
    session_over: str
    """The same where the next message begins another."""
    session_expired: str
    """Takes `time`, for which nobody said anything, and `start`."""
    session_renewed: str
    """Stands before an answer that knows nothing of what was said before a pause; takes `time`."""
    cleared: str
    """What was said before does not count any more."""
    answer_stopped: str
    nothing_to_stop: str
    history_here: str
    """Takes `link`, at its end, as some apps take what follows for a part of it."""
    no_history: str
    """We do not know the address under which people reach our pages."""
    code_ask: str
    """Somebody writes for the first time where a code is needed."""
    code_right: str
    code_wrong: str
    code_pause: str
    """There were too many wrong guesses; takes `time`, after which there is another."""
    code_group: str
    """Said once in a group in which nobody is let in yet."""
    memory_facts: str
    """Stands above the facts that were noted of somebody."""
    memory_summary: str
    """Explains the summary that stands below."""
    memory_nothing: str
    memory_private: str
    """Said where others read along: what is known of whoever asks is for a talk in private."""
    memory_no_summary: str
    memory_forget: str
    """Takes `forget`: the command that ends it."""
    forgotten: str
    forgotten_here: str
    """Said where others read along: what is known of whoever asks stays."""
    help: str
    """Stands above the list of commands, of which the others say what they do."""
    help_start: str
    help_stop: str
    help_end: str
    """What stopping does where it ends a session too."""
    help_clear: str
    help_history: str
    help_memory: str
    help_forget: str
    help_help: str
    help_privacy: str
    second: str
    seconds: str
    """This and the other times of more than one take `number`."""
    minute: str
    minutes: str
    hour: str
    hours: str
    day: str
    days: str
    ready_later: str
    """The answer is still being made, and there will be no other message; takes `link`, at its end."""
    rest_here: str
    """The answer goes on; takes `link`, at its end."""
    earlier: str
    """Stands above the answer to a question before the last one."""
    privacy_here: str
    """Takes `link`, at its end."""
    privacy_title: str
    """The title of the page about privacy."""
    privacy_intro: str
    privacy_sent: str
    """Heads the list of those whom messages are sent to."""
    privacy_sent_why: str
    privacy_answers: str
    """What a model is for."""
    privacy_spare: str
    privacy_summaries: str
    privacy_checks: str
    privacy_listens: str
    privacy_nobody: str
    """The model is a script on this very machine."""
    privacy_tools: str
    """Takes `names`: tools that the model may call."""
    privacy_masked: str
    """Takes `kinds` of what is masked."""
    masked_phone: str
    masked_email: str
    masked_card: str
    masked_national_id: str
    masked_iban: str
    masked_url_credentials: str
    privacy_unmasked: str
    privacy_outside: str
    """Says of what holds that it does so outside of sessions."""
    privacy_kept: str
    """Heads what is kept."""
    privacy_kept_what: str
    privacy_kept_summary: str
    privacy_kept_notes: str
    privacy_kept_cache: str
    """Answers are given to others too; takes `time`, for which that may be."""
    privacy_kept_time: str
    """Takes `time`."""
    privacy_kept_ever: str
    privacy_links: str
    """Takes `time`."""
    privacy_rights: str
    """Heads what people can do."""
    privacy_rights_ask: str
    """Takes `contact`."""
    privacy_rights_operator: str
    """The same where no contact is set."""
    page_answer: str
    """The title of an answer's page, and what stands before the answer."""
    page_asked: str
    page_waiting: str
    page_stopping: str
    page_done: str
    page_stopped: str
    """Stands before what was written of an answer that somebody stopped."""
    page_unbegun: str
    """The answer was stopped, and there is nothing of it."""
    page_failed: str
    page_nothing: str
    page_on: str
    """How to ask on; names no app."""
    page_offline: str
    page_copy: str
    page_copied: str
    page_history: str
    page_search: str
    page_search_in: str
    page_all: str
    page_older: str
    page_newest: str
    page_further: str
    """Goes on with a search that has looked through enough for one time."""
    page_unfound: str
    page_unfound_yet: str
    page_unsaid: str
    page_session: str
    page_between: str
    """Heads what was said between two sessions."""
    page_whole: str
    """Unfolds a long answer."""
    page_fold: str
    """Folds it again."""
    page_expired: str
    page_expired_why: str
    page_unknown: str
    page_unknown_why: str
    page_unavailable: str
    page_unavailable_why: str
    page_again: str
    alert_raised: str
    """Heads an alarm; takes `alert`, its name."""
    alert_over: str
    """Takes `time`, for which the incident lasted."""
    alert_try: str
    alert_success: str
    """Takes `turns`, `value` and `limit`, both with a percent sign."""
    alert_latency: str
    """Takes `turns`, and the times `value` and `limit`."""
    alert_queue: str
    alert_circuit: str
    """Takes `model`, its name."""
    alert_budget: str
    """Takes `assistant`, its name, and `value` and `limit`, both with a percent sign."""
    alert_where: str
    """Takes `where`: names of a channel, an assistant and a model."""
    look_success: str
    """This and the other looks say what to look at."""
    look_latency: str
    look_queue: str
    look_circuit: str
    look_budget: str
    export_title: str
    """The title of an export."""
    export_shared: str
    export_summary: str
    export_calls: str
    export_files: str
    export_notes: str
    export_rest: str
    """Heads limits, and whether they were let in."""


@cache
def words(language: str) -> Words:
    """The sentences of one of `LANGUAGES`, read once."""
    if language not in LANGUAGES:
        raise ValueError(f"no words in {language!r}; there are {', '.join(LANGUAGES)}")
    text = files(__name__).joinpath(f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Words)


MODEL = str(files(__name__) / "en.toml")
"""The file to translate into a language of one's own."""


@cache
def words_of(path: Path) -> Words:
    """The sentences of another language, from a file like ours, read once.

    Raises ValueError, which says all that is wrong with it and shows nothing of it but its keys.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not written in UTF-8") from None
    try:
        said = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"is no TOML: {error}") from None
    if faults := list(_faults(said)):
        raise ValueError("; ".join(faults))
    return msgspec.convert(said, Words)


def _faults(said: dict[str, Any]) -> Iterator[str]:
    ours = msgspec.structs.asdict(words("en"))
    if missing := [key for key in ours if key not in said]:
        yield f"lacks {', '.join(missing)}"
    if unknown := [key for key in said if key not in ours]:
        yield f"has unknown sentences: {', '.join(unknown)}"
    for key, text in ours.items():
        other = said.get(key, text)
        if not isinstance(other, str) or not other.strip():
            yield f"has no text for {key}"
        elif _taken(other) != _taken(text):
            yield f"must have in {key}: {' and '.join(_taken(text)) or 'nothing'}"


def _taken(text: str) -> list[str]:
    return sorted(set(re.findall(r"{\w+}", text)))


# One character in two scripts, place by place; only pairs of which neither side is written in the other script
# (so not 後/后 or 裡/里: 皇后 and 公里 are good Traditional).
TRADITIONAL = (
    "這個們來說對時會還國學沒過樣為點麼開關問題請讓從動長經見現電話語認識書買賣錢價單訂貨"
    "車門間聽讀寫記講誰謝該誤試議計設許論證譯課調談華業務員場報辦應導歡權觀覺親變邊遠運進"
    "連選達適隨難離雙雜風飛飯飲館魚麗黃龍當將專實寶層屬嗎園圓團圖壓壞夢夠頭媽帶幫幣廣強張"
    "惡愛態慣懷戰戲擇擔據換數斷暫東條極標樂檢歲歷氣決況減測滿漢無煩熱狀獨環產異發監確碼禮"
    "種稱簡類給統線網維練總繼續習聯職腦舉舊藥號處術裝規視訊訴詞詢詳護負財貴費資質購轉輕輸"
)
SIMPLIFIED = (
    "这个们来说对时会还国学没过样为点么开关问题请让从动长经见现电话语认识书买卖钱价单订货"
    "车门间听读写记讲谁谢该误试议计设许论证译课调谈华业务员场报办应导欢权观觉亲变边远运进"
    "连选达适随难离双杂风飞饭饮馆鱼丽黄龙当将专实宝层属吗园圆团图压坏梦够头妈带帮币广强张"
    "恶爱态惯怀战戏择担据换数断暂东条极标乐检岁历气决况减测满汉无烦热状独环产异发监确码礼"
    "种称简类给统线网维练总继续习联职脑举旧药号处术装规视讯诉词询详护负财贵费资质购转轻输"
)
_TRADITIONAL, _SIMPLIFIED = frozenset(TRADITIONAL), frozenset(SIMPLIFIED)
_CHINESE = frozenset("你您妳她們们這这那哪嗎吗呢吧啊麼么什怎很是沒没說说給给")
"""Common in Chinese, next to unknown in Japanese."""

_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f']+")


def language_of(text: str) -> Language:
    """The language of ours that a text is most likely written in; `en` where it is none of the others.

    A few foreign words do not decide: neither a Chinese name in English text, nor a の on a Taiwanese shop's sign.
    """
    kana, han = len(_KANA.findall(text)), len(_HAN.findall(text))
    if len(_LATIN.findall(text)) > 4 * (kana + han) or not kana + han:
        return "en"
    if kana > 3 * sum(char in _CHINESE for char in text):
        return "ja"
    traditional, simplified = (sum(char in script for char in text) for script in (_TRADITIONAL, _SIMPLIFIED))
    return "zh-CN" if simplified > traditional else "zh-TW"
